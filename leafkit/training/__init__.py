"""What every method shares: texts as tokens, batches, the loop, checkpoints, validation."""
