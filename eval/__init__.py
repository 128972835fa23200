"""The laboratory: benchmarks and studies, run from the root of a checkout as ``python -m eval.NAME``."""

DATA = "../shared/data"
"""The folder of test collections (bench/) and training texts (train/), from the root of a checkout."""
