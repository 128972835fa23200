"""Benchmarks of leafkit against sentence-transformers, measured in turns in the same run on the same machine.

``python -m eval.bench --teacher T --data BEIR_FOLDER`` runs them. Each measurement is one file of this package.
"""
