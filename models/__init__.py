"""Data that ships with leafkit: the quickstart's collection."""
