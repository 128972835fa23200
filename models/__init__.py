"""Data that ships with leafkit: the quickstart's collection and the recipes of published results."""
