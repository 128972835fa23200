"""Teachers: whatever gives the vectors to learn from, chosen by what the argument is."""
