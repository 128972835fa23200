"""What the student is made of: one file per search."""
