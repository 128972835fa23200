"""Packages that only a part of leafkit needs, and what to type where one of them is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from leafkit.errors import MissingExtraError

_EXTRAS = {
    "texts": ("datasets", "pyarrow"),
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
    "sentence_transformers": "sentence-transformers",
    "sklearn": "scikit-learn",
}


@contextmanager
def told_of_extras() -> Iterator[None]:
    """A block in which the failed import of an optional package is `MissingExtraError`, which says how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        for extra, modules in _EXTRAS.items():
            if module in modules:
                raise MissingExtraError(_DISTRIBUTIONS.get(module, module), extra) from error
        raise


def require(module: str) -> ModuleType:
    """The module of that name; raises `MissingExtraError` where its package is not installed."""
    with told_of_extras():
        return import_module(module)
