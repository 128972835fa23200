"""Distil an embedding model into a small student of the same vector space, and search with it.

Every name below is loaded when first used, so that ``import leafkit`` is instant and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from leafkit.extras import explain_missing_extras
from leafkit.version import __version__ as __version__

_HOMES = {
    "LeafkitError": "leafkit.errors",
    "QueryEncoder": "leafkit.search.query_encoder",
    "Searcher": "leafkit.search.searcher",
    "Space": "leafkit.space",
    "build_index": "leafkit.index.build",
    "compare": "leafkit.evaluation.compare.run",
    "distill": "leafkit.training.distill",
    "embed": "leafkit.teachers.embed",
    "evaluate": "leafkit.evaluation.evaluate",
    "export": "leafkit.onnx.student",
    "info": "leafkit.describe",
    "open_teacher": "leafkit.teachers.open",
    "read_recipe": "leafkit.training.recipe_file",
    "read_texts": "leafkit.texts.read",
    "update_index": "leafkit.index.update",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'leafkit' has no attribute {name!r}")
    with explain_missing_extras():
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
