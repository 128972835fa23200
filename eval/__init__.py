"""The laboratory: benchmarks and studies, run from a checkout as ``python -m eval.NAME``."""
