"""What is watched during a training, without touching it: one file per probe."""
