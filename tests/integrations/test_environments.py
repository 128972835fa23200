"""The tests of each integration and of the openai client, run in an environment where the framework is installed.

The environments are made in the user's cache from the package registry, so these tests are slow the first time.
"""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.fixtures.blocks import ROOT
from tests.fixtures.environments import environment

# What a search host needs, and what the tests do.
BESIDE = ["faiss-cpu>=1.15", "onnxruntime>=1.24", "tokenizers>=0.22", "typer>=0.16", "click>=8.3", "tqdm"]
BESIDE += ["pytest", "pytest-timeout", "hypothesis", "pyarrow"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("framework", "tests"),
    [
        (["langchain-core==1.8.3"], "integrations/test_langchain.py"),
        (["llama-index-core==0.14.25"], "integrations/test_llamaindex.py"),
        (["haystack-ai==3.4.1"], "integrations/test_haystack.py"),
        (["fastembed==0.9.1"], "integrations/test_fastembed.py"),
        (["mcp==2.3.0"], "integrations/test_mcp.py"),
        (["openai==3.57.0", "starlette>=1", "uvicorn>=0.40"], "serve/test_live.py -k official"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_integration_works_with_its_framework_and_without_torch(framework, tests):
    python = environment([*framework, *BESIDE])
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "slow", *f"tests/{tests}".split()]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
