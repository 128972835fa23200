"""Vectors on disk: the teacher's store, and files of (text, vector) pairs."""
