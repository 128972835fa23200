"""Vectors in memory and on disk: checks, cosines, the store of teacher vectors, vectors files and linear maps."""
