"""What ships, what stays out of the wheel, and what stays out of the search host."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import leafkit

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = [*sorted((ROOT / "leafkit").rglob("*.py")), *sorted((ROOT / "cli").rglob("*.py"))]
PRODUCT += sorted((ROOT / "models").rglob("*.py"))
LABORATORY = sorted((ROOT / "eval").rglob("*.py"))
HOST = {"numpy", "faiss", "onnxruntime", "tokenizers", "tqdm", "leafkit"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] in ("leafkit", "eval") else ("leafkit", *parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in [*PRODUCT, *LABORATORY]}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relative to itself"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def strings(path):
    return [
        n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant) and type(n.value) is str
    ]


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_product_names_no_laboratory(path):
    """Neither in an import nor in a string, from which an import could be made."""
    assert not {name for name in imported(path) if name.partition(".")[0] in ("eval", "cli", "models")}
    named = [
        text for text in strings(path) if "leafkit.eval." in text or "python -m eval" in text or "eval/results" in text
    ]
    assert not named


@pytest.mark.parametrize("path", sorted((ROOT / "leafkit" / "search").glob("*.py")), ids=lambda path: path.name)
def test_the_search_host_needs_four_libraries_alone(path):
    """Whatever a file of leafkit/search imports, directly or through other files of leafkit, at any depth."""
    seen, waiting = set(), [module_name(path)]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in imported(MODULES[module]):
            waiting += [known for known in (name, name.rpartition(".")[0]) if known in MODULES][:1]
            package = name.partition(".")[0]
            assert package in HOST or package in sys.stdlib_module_names, f"{module} imports {name}"


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
    for path in [*PRODUCT, *LABORATORY]:
        assert not [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)], path
