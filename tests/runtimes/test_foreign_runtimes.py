"""`leafkit check` in runtimes that are no dependency: fastembed without torch, and transformers.js in Node.js.

Environments are made in the user's cache from the package registries, so these tests are slow the first time.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.environments import environment

ROOT = Path(__file__).resolve().parents[2]
# fastembed, and what a search host needs.
FASTEMBED = ["fastembed==0.9.1", "faiss-cpu>=1.15", "typer>=0.16", "click>=8.3"]
TRANSFORMERS_JS = "@huggingface/transformers@4.3.2"


@pytest.fixture(scope="module")
def node_modules():
    """The folder of transformers.js, without the install scripts that would download GPU libraries."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "leafkit-tests" / TRANSFORMERS_JS.replace("/", "-").replace("@", "")
    if not (folder / "ready").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--ignore-scripts", "--silent", TRANSFORMERS_JS], cwd=folder, check=True)
        (folder / "ready").touch()
    return folder / "node_modules"


def check(student, node_modules):
    """Run the command in an environment with fastembed and without torch."""
    command = [environment(FASTEMBED), "-m", "leafkit.cli", "check", student, "--node-modules", node_modules, "--json"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd="/", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_fastembed_and_transformers_js_give_the_golden_vectors(node_modules):
    rows = check("bge-small-leaf", node_modules)
    for runtime in ("onnxruntime", "fastembed", "transformers.js"):
        (row,) = (row for row in rows if row["runtime"] == runtime and row["precision"] == "int8")
        assert row["result"] == "agrees"
        assert row["least_cosine"] > 0.9998
        assert ("long texts left out" in row["note"]) == (runtime == "transformers.js")
    assert next(row for row in rows if row["runtime"] == "sentence-transformers")["note"] == "not installed"
