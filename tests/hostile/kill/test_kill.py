"""Short runs of the kill campaign; see __main__.py for long ones. The environment variable KILL_SEED sets the seed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SEED = os.environ.get("KILL_SEED", "0")
ROOT = Path(__file__).resolve().parents[3]


def campaign(tmp_path: Path, *arguments: str) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.hostile.kill", *arguments, "--seed", SEED, "--work", str(tmp_path)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    total = next(line for line in found.stdout.splitlines() if line.startswith("total"))
    return {kind: int(count) for count, kind in re.findall(r"(\d+) ([\w-]+)", total)}


def test_a_few_kills_lose_nothing_and_leave_nothing(tmp_path):
    counts = campaign(tmp_path, "store", "build", "update", "--rounds", "1", "--kills", "2", "--seconds", "0")
    assert counts["chains"] == 3
    assert counts["failures"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("job", ["store", "embed-npy", "embed-parquet", "build", "update", "distill", "export"])
def test_kills_lose_nothing_and_leave_nothing(tmp_path, job):
    counts = campaign(tmp_path, job, "--seconds", "20")
    assert counts["kills"] >= 2
    assert counts["failures"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("job", ["stress", "stress-kills"])
def test_overwrites_updates_and_readers_at_the_same_time_see_whole_indexes(tmp_path, job):
    counts = campaign(tmp_path, job, "--seconds", "20")
    assert counts["failures"] == 0
    assert min(counts["build-done"], counts["update-done"], counts["read-done"]) >= 2
