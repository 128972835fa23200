"""The tests of each integration, run where its framework is installed: in an environment of its own.

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
    ("framework", "file"),
    [
        ("langchain-core==1.8.3", "test_langchain.py"),
        ("llama-index-core==0.14.25", "test_llamaindex.py"),
        ("haystack-ai==3.4.1", "test_haystack.py"),
        ("fastembed==0.9.1", "test_fastembed.py"),
        ("mcp==2.3.0", "test_mcp.py"),
    ],
)
def test_the_integration_works_with_its_framework_and_without_torch(framework, file):
    python = environment([framework, *BESIDE])
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "slow", f"tests/integrations/{file}"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
