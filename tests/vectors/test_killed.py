"""A store survives a killed writer, a full disk and a second writer."""

import errno
import os
import random
import subprocess
import sys
import time

import pytest

from leafkit.errors import OutputError
from leafkit.vectors import store as module
from leafkit.vectors.store import VectorStore

FILES = ("keys.bin", "vectors.bin", "manifest.json")


def contents(path):
    return {name: (path / name).read_bytes() for name in FILES}


def start(filling, root, *, pause=0.0, largest=()):
    command = [sys.executable, filling["script"], str(root), "64", str(pause), *map(str, largest)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.fixture(scope="module")
def uninterrupted(filling, tmp_path_factory):
    root = tmp_path_factory.mktemp("uninterrupted")
    assert start(filling, root).communicate()[0] == f"{filling['DISTINCT']}\n"
    return contents(next(root.iterdir()))


def test_a_run_killed_at_random_times_ends_with_the_same_files(filling, tmp_path, uninterrupted):
    draw, kills = random.Random(0), 0
    for _ in range(12):
        child = start(filling, tmp_path, pause=0.01)
        time.sleep(draw.uniform(0, 0.12))
        child.kill()
        kills += child.wait() == -9
        child.communicate()
    assert kills >= 6
    start(filling, tmp_path).communicate()
    store = VectorStore.open(tmp_path, filling["HashTeacher"]().space)
    assert contents(store.path) == uninterrupted
    store.verify()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_run_killed_at_any_disk_step_ends_with_the_same_files(filling, tmp_path, monkeypatch, uninterrupted, call):
    monkeypatch.setattr(module, "BLOCK", 64)
    real = getattr(os, call)

    class Killed(BaseException):
        pass

    def fill(root, steps):
        left = [steps]

        def step(*arguments):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return real(*arguments)

        teacher = filling["HashTeacher"]()
        with monkeypatch.context() as patched:
            patched.setattr(os, call, step)
            store = VectorStore.open(root, teacher.space)
            store.fill(teacher, filling["TEXTS"], filling["ROLES"])
        return store.path

    for steps in range(10):  # the disk operations of more than two blocks
        with pytest.raises(Killed):
            fill(tmp_path / str(steps), steps)
        assert contents(fill(tmp_path / str(steps), 10_000)) == uninterrupted


def test_earlier_blocks_survive_a_full_disk_and_the_next_run_continues(filling, tmp_path, monkeypatch, uninterrupted):
    monkeypatch.setattr(module, "BLOCK", 64)
    teacher = filling["HashTeacher"]()
    store = VectorStore.open(tmp_path, teacher.space)
    real, left = os.fsync, [20]

    def full(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor)

    with monkeypatch.context() as patched, pytest.raises(OutputError, match="disk is full"):
        patched.setattr(os, "fsync", full)
        store.fill(teacher, filling["TEXTS"], filling["ROLES"])
    survivors = VectorStore.open(tmp_path, teacher.space)
    assert 0 < len(survivors) < filling["DISTINCT"]
    survivors.verify()
    survivors.fill(teacher, filling["TEXTS"], filling["ROLES"])
    assert contents(store.path) == uninterrupted
    assert len(teacher.encoded) == filling["DISTINCT"] + 64  # the block that failed on the full disk was encoded twice


def test_earlier_blocks_survive_the_maximum_file_size(filling, tmp_path, uninterrupted):
    child = start(filling, tmp_path, largest=[5000])
    assert "OutputError" in child.communicate()[1]
    assert child.returncode == 1
    store = VectorStore.open(tmp_path, filling["HashTeacher"]().space)
    assert 0 < len(store) < filling["DISTINCT"]
    store.verify()
    start(filling, tmp_path).communicate()
    assert contents(store.path) == uninterrupted


def test_two_writers_take_turns_and_encode_each_text_once(filling, tmp_path, uninterrupted):
    children = [start(filling, tmp_path, pause=0.05) for _ in range(2)]
    outputs = [child.communicate() for child in children]
    assert sum(int(out) for out, _ in outputs) == filling["DISTINCT"]
    assert sum("waiting" in err for _, err in outputs) == 1
    assert contents(next(tmp_path.iterdir())) == uninterrupted


def test_a_reader_is_not_affected_by_a_writer(filling, tmp_path):
    teacher = filling["HashTeacher"]()
    child = start(filling, tmp_path, pause=0.02)
    seen = 0
    while child.poll() is None:
        store = VectorStore.open(tmp_path, teacher.space)
        assert len(store) >= seen
        seen = len(store)
        store.verify()
        time.sleep(0.02)
    child.communicate()
    assert len(VectorStore.open(tmp_path, teacher.space)) == filling["DISTINCT"]
