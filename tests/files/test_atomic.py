import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from leafkit.errors import OutputError
from leafkit.files.atomic import atomic_file, atomic_folder, check_output_folder, write_file, write_json
from leafkit.files.lock import folder_lock


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
        if self.name.endswith(".partial"):
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


PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from leafkit.files.atomic import atomic_file, atomic_folder
path, kind = Path(sys.argv[1]), sys.argv[2]
with atomic_file(path) if kind == "file" else atomic_folder(path, marker="m", overwrite=True) as partial:
    if kind == "file":
        partial.write(b"theirs")
        partial.flush()
    else:
        (partial / "m").write_text("theirs")
    print("writing", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def written_by_another_process(path, kind):
    """Write ``path`` in a child process, which finishes when its stdin is closed."""
    command = [sys.executable, "-c", PROGRAM, str(path), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "writing\n"
        yield child
        child.stdin.close()


def write(path, kind, content="ours"):
    if kind == "file":
        with atomic_file(path) as file:
            file.write(content.encode())
    else:
        with atomic_folder(path, marker="m", overwrite=True) as folder:
            (folder / "m").write_text(content)


def read(path):
    return (path / "m" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_next_writer_deletes_what_a_killed_one_left(tmp_path, kind):
    target = tmp_path / "output"
    with written_by_another_process(target, kind) as child:
        child.kill()
        child.wait()
    assert names(tmp_path) == [".output.partial"]
    write(target, kind)
    assert read(target) == "ours"
    assert names(tmp_path) == ["output"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_second_writer_raises_and_leaves_the_partial_of_the_first(tmp_path, kind):
    target = tmp_path / "output"
    with written_by_another_process(target, kind):
        for _ in range(2):
            with pytest.raises(OutputError, match=r"another process is writing .*output\. Wait until"):
                write(target, kind)
        assert names(tmp_path) == [".output.partial"]
    assert read(target) == "theirs"
    assert names(tmp_path) == ["output"]


def test_short_files_wait_for_another_writer(tmp_path):
    with written_by_another_process(tmp_path / "output", "file") as child:
        threading.Timer(0.2, child.stdin.close).start()
        write_file(tmp_path / "output", "ours")
        assert child.wait() == 0
    assert read(tmp_path / "output") == "ours"


@pytest.mark.parametrize("leftover", ["file", "folder", "link"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_leftover_of_another_kind_is_deleted_but_a_link_is_not_followed(tmp_path, kind, leftover):
    partial, elsewhere = tmp_path / ".output.partial", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "m").write_text("kept")
    if leftover == "file":
        partial.write_text("left")
    elif leftover == "folder":
        shutil.copytree(elsewhere, partial)
    else:
        partial.symlink_to(elsewhere)
        with pytest.raises(OutputError, match="cannot write"):
            write(tmp_path / "output", kind)
        assert read(elsewhere) == "kept"
        return
    write(tmp_path / "output", kind)
    assert read(tmp_path / "output") == "ours"
    assert names(tmp_path) == ["elsewhere", "output"]


def test_many_writers_that_race_for_one_name_leave_the_whole_work_of_one(tmp_path):
    target, refusals = tmp_path / "output", []

    def work(number):
        written = 0
        while written < 5:
            try:
                with atomic_folder(target, marker="m", overwrite=True) as folder:
                    for name in ("m", "n", "o"):
                        (folder / name).write_text(f"{number} {written}")
                written += 1
            except OutputError as error:
                refusals.append(str(error))

    writers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    (content,) = {(target / name).read_text() for name in ("m", "n", "o")}
    assert content in {f"{number} 4" for number in range(4)}
    assert names(tmp_path) == ["output"]
    assert {refusal.partition(" is writing ")[0] for refusal in refusals} <= {"another process"}


def test_of_two_writers_without_overwrite_the_later_raises_and_changes_nothing(tmp_path):
    target = tmp_path / "index"
    with pytest.raises(OutputError, match="already exists"), atomic_folder(target, marker="m") as folder:
        (folder / "m").write_text("later")
        target.mkdir()
        (target / "m").write_text("first")
    assert read(target) == "first"
    assert names(tmp_path) == ["index"]


def test_an_overwrite_waits_for_the_lock_on_the_old_folder(tmp_path, caplog):
    target = tmp_path / "index"
    write(target, "folder", "old")
    done = threading.Event()

    def overwrite():
        write(target, "folder", "new")
        done.set()

    with folder_lock(target):
        writer = threading.Thread(target=overwrite)
        writer.start()
        assert not done.wait(0.3)
        assert read(target) == "old"
    writer.join(10)
    assert read(target) == "new"
    assert "is being updated" in caplog.text


@pytest.mark.parametrize("exists", [True, False])
def test_a_replacement_killed_between_its_two_renames_is_undone_by_the_next_call(tmp_path, exists):
    """Without an exchange in one step, the old folder is first moved aside."""
    target = tmp_path / "index"
    write(tmp_path / ".index.old", "folder", "old")
    if exists:
        write(target, "folder", "new")
    with pytest.raises(OutputError, match="already exists"), atomic_folder(target, marker="m"):
        pytest.fail("the old folder was not restored")
    if exists:
        write(target, "folder", "newer")
    assert read(target) == ("newer" if exists else "old")
    assert names(tmp_path) == ["index"]


def test_a_link_to_a_folder_stays_when_the_folder_is_overwritten(tmp_path):
    write(tmp_path / "version-1", "folder", "old")
    (tmp_path / "current").symlink_to("version-1")
    write(tmp_path / "current", "folder", "new")
    assert read(tmp_path / "version-1") == "new"
    assert names(tmp_path) == ["current", "version-1"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_and_folders_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write(tmp_path / "file", "file")
        write(tmp_path / "folder", "folder")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"file": 0o666 & ~umask, "folder": 0o777 & ~umask}


def test_a_failed_write_deletes_the_parent_folders_that_it_created(tmp_path):
    (tmp_path / "kept").mkdir()
    with pytest.raises(ValueError), atomic_folder(tmp_path / "kept" / "a" / "b" / "index", marker="m"):
        raise ValueError
    assert names(tmp_path / "kept") == []


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EINVAL, errno.EACCES])
def test_a_place_where_nothing_can_be_created_is_an_output_error(tmp_path, monkeypatch, code):
    """As in /proc, which exists but takes no files."""

    def refuse(path, *_, **__):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr("leafkit.files.partial._create", refuse)
    with pytest.raises(OutputError, match=rf"cannot write .*out: {os.strerror(code)}"), atomic_file(tmp_path / "out"):
        pass
    with pytest.raises(OutputError, match="cannot write"), atomic_folder(tmp_path / "out", marker="m"):
        pass


def test_an_error_about_another_file_passes_through(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "out"):
        (tmp_path / "in" / "missing").read_bytes()


def test_a_folder_or_device_is_never_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OutputError, match=rf"{name} is a folder or a device"), atomic_file(tmp_path / name):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_name_that_is_too_long_is_an_output_error(tmp_path):
    for write in (atomic_file, partial(atomic_folder, marker="m")):
        with pytest.raises(OutputError, match="File name too long"), write(tmp_path / ("x" * 300)):
            pass
