"""The code that decides what a method does: its own file and the modules of `leafkit.methods` that it imports."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

import leafkit.methods
from leafkit.methods.registry import method_class

METHODS = Path(str(leafkit.methods.__file__)).parent
# These are the same for all methods. The commit of a result says which version of them it was made with.
_PROTOCOL = ("ask", "batch", "look", "method", "plan", "registry", "setting")
_WORDS = ("paper", "reconstruction", "small", "elicits", "learns_by", "skills")
"""The class attributes of methods that change nothing in a training."""


def method_files(name: str) -> list[Path]:
    """Return the files that decide what the method ``name`` does, its own first; see `imported_files`."""
    return imported_files(Path(str(sys.modules[method_class(name).__module__].__file__)))


def imported_files(file: Path, methods: Path = METHODS) -> list[Path]:
    """Return ``file`` and all modules in the folder ``methods`` that it imports, directly or through others.

    The modules of the protocol (`_PROTOCOL`) and what only they import are left out.
    """
    found, left = [file], [file]
    while left:
        for path in _imports(left.pop(), methods):
            if path not in found:
                found.append(path)
                left.append(path)
    return found


def hash_of_code(files: Iterable[Path]) -> str:
    """Return a hash of the source ``files``, in any order.

    Comments, docstrings and what is only said about a method (`_WORDS`) do not change the hash.
    """
    return hashlib.sha256("".join(sorted(map(_bare, files))).encode()).hexdigest()[:10]


def _imports(file: Path, methods: Path) -> list[Path]:
    """Return the modules in ``methods`` that ``file`` itself imports, also inside functions, without the protocol."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    prefix = "leafkit.methods."
    inside = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    paths = [methods.joinpath(*name.split(".")).with_suffix(".py") for name in inside if name not in _PROTOCOL]
    return [path for path in paths if path.is_file()]


def _bare(file: Path) -> str:
    """Return the syntax tree of ``file`` without comments, docstrings and `_WORDS`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        node.body = [each for each in node.body if not _is_words(each)]
    return ast.dump(tree)


def _is_words(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in _WORDS
