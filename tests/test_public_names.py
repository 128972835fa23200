"""The public names of leafkit: the table of lazy imports, the imports for type checkers, and the modules agree."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import leafkit


def imports_for_type_checkers() -> dict[str, str]:
    """Return the module of each name imported under ``if TYPE_CHECKING``."""
    tree = ast.parse(Path(leafkit.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    # Only "name as name" counts as a public name for type checkers.
    return {str(name.asname): str(node.module) for node in imports for name in node.names if name.asname == name.name}


def test_type_checkers_see_the_lazy_names():
    assert imports_for_type_checkers() == leafkit._MODULES


@pytest.mark.parametrize("name", leafkit._MODULES)
def test_every_public_name_is_the_object_of_its_module(name):
    assert getattr(leafkit, name) is getattr(import_module(leafkit._MODULES[name]), name)


def test_all_lists_every_public_name_once_and_nothing_else_is_found():
    assert sorted(leafkit.__all__) == sorted(["__version__", *leafkit._MODULES])
    assert dir(leafkit) == sorted(leafkit.__all__)
    with pytest.raises(AttributeError, match="module 'leafkit' has no attribute 'absent'"):
        _ = leafkit.absent
