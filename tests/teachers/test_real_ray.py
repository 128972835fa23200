"""A real Ray cluster on this machine: a worker killed, the driver killed, a text that fails. Each takes a minute."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from leafkit.teachers.embed import embed
from leafkit.teachers.spread_with_ray import QUEUED
from leafkit.vectors.shards import check_shards

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
DRIVER = Path(__file__).with_name("ray_driver.py")
SHARDS, WORKERS = 12, 2


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"_id": f"d{i}", "text": f"text {i}"}) + "\n" for i in range(100)))
    return path


@pytest.fixture
def alone(texts, tmp_path, hash_teacher):
    """The shards as single processes write them."""
    for number in range(1, SHARDS + 1):
        embed(texts, hash_teacher(), tmp_path / "alone", shard=f"{number}/{SHARDS}")
    return vectors_in(tmp_path / "alone")


@pytest.fixture
def drive(texts, tmp_path):
    """Start the driver; the next call continues in the same folder."""

    def start(*more, pause=2):
        words = [sys.executable, DRIVER, texts, tmp_path / "shards", tmp_path / "log", pause, *more]
        return subprocess.Popen(
            [str(word) for word in words],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    return start


def vectors_in(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def encoded(tmp_path):
    """Return the process and the shard of each line of the log."""
    log = tmp_path / "log"
    return [tuple(line.split()) for line in log.read_text().splitlines()] if log.exists() else []


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.2)


def finished(process):
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors


def test_a_killed_worker_costs_the_shards_that_it_had(drive, alone, tmp_path):
    driver = drive()
    wait_until(lambda: len(encoded(tmp_path)) >= 4, driver)
    killed = encoded(tmp_path)[-1][0]
    os.kill(int(killed), signal.SIGKILL)
    finished(driver)
    assert vectors_in(tmp_path / "shards") == alone
    lines = encoded(tmp_path)
    again = [shard for shard, count in Counter(shard for _, shard in lines).items() if count > 1]
    # The one that it encoded, and perhaps one whose vectors were still on their way.
    assert len(again) <= QUEUED
    assert {(killed, shard) for shard in again} <= set(lines)
    assert len({process for process, _ in lines}) == WORKERS + 1


def test_a_killed_driver_loses_at_most_the_shards_in_flight(drive, alone, tmp_path):
    folder, driver = tmp_path / "shards", drive()
    wait_until(lambda: len(list(folder.glob("*.manifest"))) >= 4, driver)
    driver.kill()
    driver.communicate()
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.manifest")}
    finished(drive(pause=0))
    assert vectors_in(folder) == alone
    assert len(check_shards(folder)) == SHARDS
    assert SHARDS <= len(encoded(tmp_path)) <= SHARDS + WORKERS * QUEUED
    assert all((folder / name).stat().st_mtime_ns == time for name, time in kept.items())


def test_a_text_that_fails_is_named_and_the_other_shards_are_kept(drive, alone, tmp_path):
    driver = drive("text 30", pause=0)
    _, errors = driver.communicate(timeout=500)
    assert driver.returncode == 1
    assert "1 of 12 shards could not be made" in errors
    assert "shard 4/12: the encoder fails on the text of row 31 (id 'd30', 'text 30'): no such token." in errors
    assert "Traceback" not in errors
    assert len(list((tmp_path / "shards").glob("*.manifest"))) == SHARDS - 1
    finished(drive(pause=0))
    assert vectors_in(tmp_path / "shards") == alone


def test_the_command_writes_the_vectors_of_a_student_that_ships(texts, tmp_path):
    command = [sys.executable, "-m", "leafkit.cli", "embed", str(texts), "--encoder", "bge-small-leaf-table"]
    for more in (
        ["--ray", "local", "--workers", "2", "--shards", "3", "--out", str(tmp_path / "ray")],
        *(["--shard", f"{number}/3", "--out", str(tmp_path / "alone")] for number in (1, 2, 3)),
    ):
        subprocess.run([*command, *more], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=300)
    assert vectors_in(tmp_path / "ray") == vectors_in(tmp_path / "alone")
