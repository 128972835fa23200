"""One process holds an exclusive lock at a time; the others wait or raise an error."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leafkit.errors import LeafkitError, OutputError
from leafkit.files.lock import exclusive_lock


@contextmanager
def held_by_another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold the lock in a child process, which releases it when its stdin is closed."""
    program = f"""
        import sys
        from pathlib import Path
        from leafkit.files.lock import exclusive_lock
        with exclusive_lock(Path({str(path)!r})):
            print("held", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_held_lock_raises_and_a_killed_process_releases_it(tmp_path, kind):
    path = tmp_path if kind == "folder" else tmp_path / "lock"
    with held_by_another_process(path) as child:
        with (
            pytest.raises(OutputError, match="another run is writing"),
            exclusive_lock(path, error="another run is writing"),
        ):
            pytest.fail("two processes hold one lock")
        child.kill()
        child.wait()
        with exclusive_lock(path, error="another run is writing"):
            pass


def test_a_process_waits_for_a_held_lock_and_logs_the_warning_once(tmp_path, caplog):
    with held_by_another_process(tmp_path / "lock") as child:
        assert child.stdin is not None
        release = threading.Timer(0.2, child.stdin.close)
        release.start()
        with (
            caplog.at_level(logging.WARNING, logger="leafkit"),
            exclusive_lock(tmp_path / "lock", warning="waiting for 100 % of the lock"),
        ):
            release.join()
            assert child.wait() == 0
    assert caplog.messages == ["waiting for 100 % of the lock"]


def test_a_failed_block_releases_the_lock_and_a_free_lock_logs_nothing(tmp_path, caplog):
    for _ in range(2):
        with pytest.raises(KeyError), exclusive_lock(tmp_path / "lock", error="held", warning="waiting"):
            raise KeyError
    assert not caplog.messages


def test_a_lock_keeps_the_content_of_its_file(tmp_path):
    (tmp_path / "lock").write_text("content")
    with exclusive_lock(tmp_path / "lock"):
        pass
    assert (tmp_path / "lock").read_text() == "content"


def test_a_lock_below_a_file_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file, not a folder"), exclusive_lock(tmp_path / "file" / "lock"):
        pass


def test_a_system_without_file_locks_raises(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(LeafkitError, match="cannot lock files on this system"), exclusive_lock(tmp_path / "lock"):
        pass
