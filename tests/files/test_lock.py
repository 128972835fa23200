"""One process holds an exclusive lock at a time; the others wait or raise an error."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leafkit.errors import LeafkitError, OutputError
from leafkit.files.lock import exclusive_lock, folder_lock


@contextmanager
def held_by_another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold the lock in a child process, which releases it when its stdin is closed."""
    program = f"""
        import sys
        from pathlib import Path
        from leafkit.files.lock import exclusive_lock, folder_lock
        path = Path({str(path)!r})
        with folder_lock(path) if path.is_dir() else exclusive_lock(path):
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
    path, lock = (tmp_path, folder_lock) if kind == "folder" else (tmp_path / "lock", exclusive_lock)
    with held_by_another_process(path) as child:
        with pytest.raises(OutputError, match="another run is writing"), lock(path, error="another run is writing"):
            pytest.fail("two processes hold one lock")
        child.kill()
        child.wait()
        with lock(path, error="another run is writing"):
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


def test_a_waiting_process_locks_the_folder_that_took_the_place_of_the_locked_one(tmp_path):
    folder, other = tmp_path / "index", tmp_path / "other"
    folder.mkdir()
    other.mkdir()

    def exchange():
        folder.rename(tmp_path / "old")
        other.rename(folder)
        child.stdin.close()

    with held_by_another_process(folder) as child:
        threading.Timer(0.2, exchange).start()
        with folder_lock(folder):
            assert (tmp_path / "old").exists()
            with pytest.raises(OutputError, match="busy"), folder_lock(folder, error="busy"):
                pytest.fail("the lock is on the old folder")
            with folder_lock(tmp_path / "old", error="busy"):
                pass


def test_a_lock_file_that_its_holder_deletes_with_the_folder_is_created_again(tmp_path):
    run = tmp_path / "run"
    with exclusive_lock(run / "lock"):
        waiting = threading.Thread(target=lambda: exclusive_lock(run / "lock").__enter__())
        waiting.start()
        time.sleep(0.2)
        (run / "lock").unlink()
        run.rmdir()
    waiting.join(10)
    assert not waiting.is_alive()
    assert (run / "lock").is_file()


def test_a_missing_folder_cannot_be_locked_and_is_not_created(tmp_path):
    with pytest.raises(FileNotFoundError), folder_lock(tmp_path / "absent"):
        pass
    assert not (tmp_path / "absent").exists()


def test_a_forked_process_does_not_keep_the_lock_of_its_parent(tmp_path):
    with exclusive_lock(tmp_path / "lock"):
        started, start = os.pipe()
        stopped, stop = os.pipe()
        if not (child := os.fork()):
            os.close(stop)
            os.write(start, b".")
            os.read(stopped, 1)  # until the parent closes its end
            os._exit(0)
        os.read(started, 1)
    with exclusive_lock(tmp_path / "lock", error="the child holds the lock"):
        pass
    os.close(stop)
    assert os.waitpid(child, 0) == (child, 0)
    for descriptor in (started, start, stopped):
        os.close(descriptor)
