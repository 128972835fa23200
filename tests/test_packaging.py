"""What ships, what stays out of the wheel, and what stays out of the search host."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import leafkit

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = [*sorted((ROOT / "leafkit").rglob("*.py")), *sorted((ROOT / "cli").rglob("*.py"))]
PRODUCT += sorted((ROOT / "models").rglob("*.py"))
LABORATORY = sorted((ROOT / "eval").rglob("*.py"))
HOST = {"numpy", "faiss", "onnxruntime", "tokenizers", "leafkit"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] in ("leafkit", "eval") else ("leafkit", *parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in [*PRODUCT, *LABORATORY]}


def for_type_checkers(tree):
    """The nodes below ``if TYPE_CHECKING:``, which never run."""
    blocks = (n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))
    return {id(node) for block in blocks for statement in block.body for node in ast.walk(statement)}


@functools.cache
def imported(path, *, running=False):
    """The names that a file imports; with ``running``, without those that only type checkers read."""
    return list(_imported(path, running))


def _imported(path, running):
    tree = ast.parse(path.read_text())
    left_out = for_type_checkers(tree) if running else set()
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
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


@pytest.mark.parametrize("path", [*PRODUCT, *LABORATORY], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_class_is_recognised_by_its_name(path):
    """A class of a library may be renamed or subclassed; `isinstance` still recognises it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare):
            names = [part for part in ast.walk(node) if isinstance(part, ast.Attribute) and part.attr == "__name__"]
            texts = [part for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            assert not (names and texts), f"{path}:{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    "path",
    [path for name in ("search", "serve") for path in sorted((ROOT / "leafkit" / name).rglob("*.py"))],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_the_search_host_needs_only_four_libraries(path):
    """Follow the imports of a file of leafkit/search into other files of leafkit, at any depth and inside functions.

    The server needs two more.
    """
    libraries = HOST | ({"starlette", "uvicorn"} if "serve" in path.relative_to(ROOT).parts else set())
    seen, waiting = set(), [module_name(path)]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        if "." in module:  # importing a module runs the packages around it as well
            waiting.append(module.rpartition(".")[0])
        for name in imported(MODULES[module], running=True):
            waiting += [known for known in (name, name.rpartition(".")[0]) if known in MODULES][:1]
            package = name.partition(".")[0]
            assert package in libraries or package in sys.stdlib_module_names, f"{module} imports {name}"
        # A name imported by a string would escape the search above.
        assert module in ("leafkit", "leafkit.search", "leafkit.extras") or "import_module" not in source(module), (
            module
        )


def source(module):
    return MODULES[module].read_text()


def test_searching_an_index_imports_nothing_but_the_four_libraries(tiny_teacher, exported, sentences, tmp_path):
    """Every other package is made unimportable while texts and vectors are searched."""
    (tmp_path / "docs.txt").write_text("\n".join(sentences), encoding="utf-8")
    index = leafkit.build_index(tmp_path / "docs.txt", tiny_teacher, tmp_path / "index", student=exported)
    program = f"""
import sys
from importlib.abc import MetaPathFinder

# faiss itself imports packaging.
ALLOWED = {HOST | {"packaging"}!r} | set(sys.stdlib_module_names)

class OnlyAllowed(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] not in ALLOWED:
            raise ModuleNotFoundError(f"{{name}} is not installed on the search host", name=name)

before = set(sys.modules)
sys.meta_path.insert(0, OnlyAllowed())
from leafkit import QueryEncoder, Searcher
searcher = Searcher.open({str(index)!r})
print(searcher.search("copy a file", 3).ids)
print(searcher.search(searcher.encoder.encode(["copy a file"]), 3, allow=["docs.txt:1"])[0].ids)
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(sorted(new & {{"torch", "transformers", "sentence_transformers", "pyarrow", "onnx", "pandas", "scipy", "tqdm"}}))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    hits, allowed, loaded = result.stdout.splitlines()
    assert hits == str(leafkit.Searcher.open(index).search("copy a file", 3).ids)
    assert (allowed, loaded) == ("['docs.txt:1']", "[]")


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
