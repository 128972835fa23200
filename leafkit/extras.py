"""Optional dependencies: which extra installs which package, and the error for a package that is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from leafkit.errors import MissingExtraError

_EXTRAS = {
    "texts": ("datasets", "pandas", "pyarrow"),  # datasets brings pandas
    "serve": ("starlette", "uvicorn"),
    "mcp": ("mcp",),
    "qdrant": ("qdrant_client",),
    "postgres": ("pgvector", "psycopg"),
    "ray": ("ray",),
    "lancedb": ("lancedb",),
    "milvus": ("milvus_lite", "pymilvus"),
    "write": ("gguf",),
    "train": (
        "accelerate",
        "huggingface_hub",
        "onnx",
        "onnxscript",
        "safetensors",
        "sentence_transformers",
        "tensorboard",
        "torch",
        "transformers",
    ),
    "eval": ("beir", "bm25s", "matplotlib", "mteb", "pytrec_eval", "scipy", "sklearn"),
}
_DISTRIBUTIONS = {
    "pytrec_eval": "pytrec-eval-terrier",
    "qdrant_client": "qdrant-client",
    "sentence_transformers": "sentence-transformers",
    "sklearn": "scikit-learn",
}


@contextmanager
def explain_missing_extras() -> Iterator[None]:
    """Turn the failed import of an optional package into a `MissingExtraError` that names the pip command."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        for extra, modules in _EXTRAS.items():
            if module in modules:
                raise MissingExtraError(_DISTRIBUTIONS.get(module, module), extra) from error
        raise


def import_optional(module: str) -> ModuleType:
    """Import an optional ``module`` and return it; raise `MissingExtraError` if its package is not installed."""
    with explain_missing_extras():
        return import_module(module)
