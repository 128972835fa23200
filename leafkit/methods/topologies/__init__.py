"""Topologies: who teaches whom, in which rounds."""
