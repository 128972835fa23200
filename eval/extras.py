"""The optional packages of evaluation, imported where they are needed and named when they are missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from leafkit.errors import MissingExtraError

_DISTRIBUTIONS = {"pytrec_eval": "pytrec-eval-terrier", "sklearn": "scikit-learn"}


def require(module: str) -> ModuleType:
    """The module of that name; raises `MissingExtraError` with the pip command where it is not installed."""
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtraError(_DISTRIBUTIONS.get(package, package), "eval") from error
