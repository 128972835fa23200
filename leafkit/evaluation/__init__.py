"""Measure students against their teacher: retrieval metrics, MTEB tasks, grids of dims and precisions, reports."""
