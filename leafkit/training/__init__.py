"""Training: from texts and a teacher to a finished student, with batches, loop, checkpoints and validation."""
