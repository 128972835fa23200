"""Measure a student against its teacher: retrieval metrics, dims x precisions, BEIR folders and MTEB tasks."""
