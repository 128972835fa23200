from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.fixture
def leafkit(tmp_path):
    """Run the command line in a child process in an empty folder, as a user does."""

    def run(*arguments, stdin=None, check=True):
        command = [sys.executable, "-m", "leafkit.cli", *map(str, arguments)]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, input=stdin, timeout=250)
        if check and result.returncode:
            pytest.fail(f"{' '.join(map(str, arguments))}\n{result.stdout}\n{result.stderr}")
        return result

    return run
