import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from leafkit.errors import OutputError
from leafkit.files.atomic import atomic_folder, check_output_folder, write_file, write_json


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_folder_appears_when_its_block_ends_without_an_error(tmp_path):
    target = tmp_path / "student"
    with atomic_folder(target, marker="leafkit.json") as folder:
        (folder / "leafkit.json").write_text("{}")
        assert not target.exists()
    assert names(target) == ["leafkit.json"]
    assert names(tmp_path) == ["student"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failed_block_leaves_no_files(tmp_path, failure):
    with pytest.raises(failure), atomic_folder(tmp_path / "student", marker="leafkit.json") as folder:
        (folder / "half").write_text("half")
        raise failure
    assert names(tmp_path) == []


def test_a_folder_that_leafkit_did_not_write_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("cat")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="was not written by leafkit"):
            check_output_folder(tmp_path / "photos", marker="leafkit.json", overwrite=overwrite)
    assert names(tmp_path / "photos") == ["cat.jpg"]


def test_a_folder_that_leafkit_wrote_is_replaced_only_with_overwrite(tmp_path):
    target = tmp_path / "student"
    for text in ("old", "new"):
        with atomic_folder(target, marker="leafkit.json", overwrite=text == "new") as folder:
            (folder / "leafkit.json").write_text(text)
    assert (target / "leafkit.json").read_text() == "new"
    assert names(tmp_path) == ["student"]
    with pytest.raises(OutputError, match="--overwrite"):
        check_output_folder(target, marker="leafkit.json")


@pytest.mark.parametrize("exchange", [True, False])
def test_a_reader_of_an_overwritten_folder_sees_the_old_or_the_new_folder(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr("leafkit.files.atomic._exchange", lambda one, other: False)
    target = tmp_path / "index"
    target.mkdir()
    (target / "m").write_text("0")
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            try:
                seen.add((target / "m").read_text())
            except FileNotFoundError:
                seen.add("nothing")

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 50):
        with atomic_folder(target, marker="m", overwrite=True) as folder:
            (folder / "m").write_text(str(number))
    done.set()
    reader.join()
    assert (target / "m").read_text() == "49"
    assert names(tmp_path) == ["index"]
    if exchange and sys.platform == "linux":
        assert "nothing" not in seen


def test_an_overwrite_that_stops_between_two_renames_restores_the_old_folder(tmp_path, monkeypatch):
    target = tmp_path / "index"
    target.mkdir()
    (target / "m").write_text("old")
    rename = Path.rename

    def stop(self, to):
        if ".partial-" in self.name:
            raise KeyboardInterrupt
        return rename(self, to)

    monkeypatch.setattr("leafkit.files.atomic._exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises(KeyboardInterrupt), atomic_folder(target, marker="m", overwrite=True) as folder:
        (folder / "m").write_text("new")
    assert (target / "m").read_text() == "old"
    assert names(tmp_path) == ["index"]


def test_a_failed_overwrite_keeps_the_old_folder(tmp_path):
    target = tmp_path / "student"
    with atomic_folder(target, marker="leafkit.json") as folder:
        (folder / "leafkit.json").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(target, marker="leafkit.json", overwrite=True) as folder:
        (folder / "leafkit.json").write_text("new")
        raise RuntimeError
    assert (target / "leafkit.json").read_text() == "old"


def test_a_full_disk_is_an_output_error_and_leaves_no_files(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_file(tmp_path / "manifest.json", "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        write_file(tmp_path / "manifest.json", "new")
    with pytest.raises(OutputError, match="disk is full"), atomic_folder(tmp_path / "index", marker="m") as folder:
        (folder / "m").write_text("x")
    assert names(tmp_path) == ["manifest.json"]
    assert (tmp_path / "manifest.json").read_text() == "old"


def test_json_is_written_without_escapes(tmp_path):
    write_json(tmp_path / "a.json", {"text": "größer"})
    assert "größer" in (tmp_path / "a.json").read_text()


def test_a_reader_never_sees_a_partial_file_while_the_writer_is_killed(tmp_path):
    target = tmp_path / "manifest.json"
    program = (
        "import sys; from pathlib import Path; from leafkit.files.atomic import write_file\n"
        "while True:\n for letter in 'ab': write_file(Path(sys.argv[1]), letter * 100_000)"
    )
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", program, str(target)])
        deadline = time.monotonic() + 20
        while not target.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        seen = {target.read_text() for _ in range(50)}
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert seen | {target.read_text()} <= {"a" * 100_000, "b" * 100_000}
