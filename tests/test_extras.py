"""A command or function whose optional package is missing raises an error with the pip command."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from leafkit.errors import MissingExtraError
from leafkit.extras import explain_missing_extras, import_optional

ROOT = Path(__file__).parents[1]
# Extras that are not among what the tests install, with one of their modules.
NEEDED = (("serve", "uvicorn"), ("mcp", "mcp"), ("postgres", "psycopg"), ("qdrant", "qdrant_client"))
ABSENT = "import sys; sys.modules.update(dict.fromkeys(['torch', 'pyarrow', 'pytrec_eval', 'uvicorn', 'mcp']));"


def test_an_installed_package_is_imported():
    assert import_optional("pytrec_eval").RelevanceEvaluator


@pytest.mark.parametrize(
    ("module", "named", "extra"),
    [
        ("bm25s", "bm25s", "eval"),
        ("pytrec_eval", "pytrec-eval-terrier", "eval"),
        ("beir.retrieval", "beir", "eval"),
        ("mcp.server", "mcp", "mcp"),
        ("gguf", "gguf", "write"),
        ("pandas", "pandas", "texts"),
        ("pyarrow.parquet", "pyarrow", "texts"),
        ("psycopg.sql", "psycopg", "postgres"),
        ("qdrant_client.models", "qdrant-client", "qdrant"),
        ("starlette.routing", "starlette", "serve"),
        ("torch.nn", "torch", "train"),
    ],
)
def test_a_missing_package_is_named_with_its_pip_command(monkeypatch, module, named, extra):
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"this needs {named}, .* pip install 'leafkit\[{extra}\]'"):
        import_optional(module)


def plain(distribution):
    """Return the name of a distribution in pip's normal form."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@pytest.mark.parametrize("extra", ["texts", "serve", "mcp", "postgres", "qdrant", "train", "eval"])
def test_every_package_of_an_extra_is_recognised_by_its_module(extra):
    for needed, module in NEEDED:
        if extra == needed:
            pytest.importorskip(module, reason=f"the extra {extra} is not installed")
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    names = {re.split(r"[<>=\[]", requirement)[0] for requirement in declared} - {"leafkit"}
    known = set()
    for module, distributions in packages_distributions().items():
        try:
            with explain_missing_extras():
                raise ModuleNotFoundError(name=module)
        except MissingExtraError as error:
            if f"leafkit[{extra}]" in str(error):
                known |= {name for name in map(plain, distributions) if f"needs {name}," in str(error)}
        except ModuleNotFoundError:
            pass
    assert names <= known


def test_a_missing_module_of_leafkit_is_not_a_missing_extra():
    with pytest.raises(ModuleNotFoundError, match=r"leafkit\.absent"), explain_missing_extras():
        import leafkit.absent  # noqa: F401


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ("distill texts.jsonl --teacher vectors.npy --student static --out student", "train"),
        ("methods", "train"),
        ("quickstart", "train"),
        ("serve INDEX --port 0", "serve"),
        ("mcp INDEX", "mcp"),
        ("index docs.parquet --teacher docs.parquet --out index", "texts"),
    ],
)
def test_commands_on_a_search_host_say_what_to_install(arguments, extra, tmp_path):
    for name in ("texts.jsonl", "vectors.jsonl", "vectors.npy", "docs.parquet"):
        (tmp_path / name).touch()
    (tmp_path / "texts.jsonl").write_text('{"text": "list"}\n')
    program = f"{ABSENT} from leafkit.cli import main; sys.argv = ['leafkit', *{arguments.split()}]; main()"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(rf"leafkit: this needs \S+, which is not installed\. .*'leafkit\[{extra}\]'\n", done.stderr)


@pytest.mark.parametrize(("name", "extra"), [("distill", "train"), ("export", None), ("read_texts", None)])
def test_public_names_say_what_to_install(name, extra):
    program = f"{ABSENT} import leafkit; leafkit.{name}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (f"pip install 'leafkit[{extra}]'" in done.stderr) if extra else not done.returncode
