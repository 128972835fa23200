"""Distil an embedding model into a small student of the same vector space, and search with the student.

Every public name is imported on first use, so that ``import leafkit`` is fast and does not need torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from leafkit.extras import explain_missing_extras
from leafkit.version import __version__ as __version__

if TYPE_CHECKING:
    from leafkit.bulk.write import write_bulk_files as write_bulk_files
    from leafkit.describe import info as info
    from leafkit.errors import LeafkitError as LeafkitError
    from leafkit.evaluation.compare.run import compare as compare
    from leafkit.evaluation.evaluate import evaluate as evaluate
    from leafkit.evaluation.shadow.run import shadow as shadow
    from leafkit.evaluation.upgrade.run import upgrade as upgrade
    from leafkit.index.build import build_index as build_index
    from leafkit.index.pull import pull as pull
    from leafkit.index.push import push_index as push_index
    from leafkit.index.update import update_index as update_index
    from leafkit.index.verify import verify as verify
    from leafkit.onnx.student import export as export
    from leafkit.onnx.teacher import export_teacher as export_teacher
    from leafkit.runtimes.check import check_student as check_student
    from leafkit.runtimes.router import export_router as export_router
    from leafkit.search.query_encoder import QueryEncoder as QueryEncoder
    from leafkit.search.searcher import Searcher as Searcher
    from leafkit.site.build import build_site as build_site
    from leafkit.space import Space as Space
    from leafkit.students.push import push as push
    from leafkit.teachers.embed import embed as embed
    from leafkit.teachers.open import open_teacher as open_teacher
    from leafkit.texts.read import read_texts as read_texts
    from leafkit.training.distill import distill as distill
    from leafkit.training.recipe_file import read_recipe as read_recipe

# The module of each public name. tests/test_public_names.py checks that this table and the imports above agree.
_MODULES = {
    "LeafkitError": "leafkit.errors",
    "QueryEncoder": "leafkit.search.query_encoder",
    "Searcher": "leafkit.search.searcher",
    "Space": "leafkit.space",
    "build_index": "leafkit.index.build",
    "build_site": "leafkit.site.build",
    "check_student": "leafkit.runtimes.check",
    "compare": "leafkit.evaluation.compare.run",
    "distill": "leafkit.training.distill",
    "embed": "leafkit.teachers.embed",
    "evaluate": "leafkit.evaluation.evaluate",
    "export": "leafkit.onnx.student",
    "export_router": "leafkit.runtimes.router",
    "export_teacher": "leafkit.onnx.teacher",
    "info": "leafkit.describe",
    "open_teacher": "leafkit.teachers.open",
    "pull": "leafkit.index.pull",
    "push": "leafkit.students.push",
    "push_index": "leafkit.index.push",
    "read_recipe": "leafkit.training.recipe_file",
    "read_texts": "leafkit.texts.read",
    "shadow": "leafkit.evaluation.shadow.run",
    "update_index": "leafkit.index.update",
    "upgrade": "leafkit.evaluation.upgrade.run",
    "verify": "leafkit.index.verify",
    "write_bulk_files": "leafkit.bulk.write",
}

# Type checkers read the imports above instead of this computed list.
__all__ = ["__version__", *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'leafkit' has no attribute {name!r}")
    with explain_missing_extras():
        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
