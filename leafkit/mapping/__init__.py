"""Other coordinates of a teacher's space: rotations that change no cosine, and folds that keep what a student sees."""
