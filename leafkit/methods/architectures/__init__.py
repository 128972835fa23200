"""Architectures: searches for the student within a budget."""
