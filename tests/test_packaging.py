"""What ships, what imports what, and what stays out of the search host."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import leafkit

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"leafkit": ROOT / "leafkit", "leafkit.cli": ROOT / "cli", "leafkit.eval": ROOT / "eval"}
FOLDERS["leafkit.models"] = ROOT / "models"
MAY_IMPORT = {"leafkit": set(), "leafkit.models": set(), "leafkit.eval": set()}
MAY_IMPORT["leafkit.cli"] = {"leafkit.eval", "leafkit.models"}


def modules():
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            yield package, path


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_package_on_disk_is_in_the_wheel():
    declared = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = set()
    for package, folder in FOLDERS.items():
        for init in folder.rglob("__init__.py"):
            found.add(".".join([package, *init.parent.relative_to(folder).parts]))
    assert declared == found


@pytest.mark.parametrize(("package", "path"), list(modules()), ids=lambda value: str(value).removeprefix(str(ROOT)))
def test_imports_go_one_way(package, path):
    outer = {"leafkit.cli", "leafkit.eval", "leafkit.models"} - MAY_IMPORT[package] - {package}
    names = set(imported(path))
    broken = {name for name in names for other in outer if name == other or name.startswith(other + ".")}
    assert not broken
    assert not names & {"cli", "eval", "models"}


def test_every_public_name_is_real_and_documented():
    for name in leafkit.__all__:
        value = getattr(leafkit, name)
        assert name == "__version__" or value.__doc__, name


def test_importing_leafkit_and_its_command_line_brings_no_heavy_library():
    heavy = "{'torch', 'transformers', 'faiss', 'onnxruntime', 'pyarrow'}"
    program = f"import leafkit, leafkit.cli, sys; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_no_input_is_checked_by_assert():
    for _, path in modules():
        assert not [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)], path
