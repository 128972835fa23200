"""Atomic writes: a file or folder is written under another name, flushed to disk, then renamed into place."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from leafkit.errors import OutputError
from leafkit.files.disk_errors import explain_disk_errors
from leafkit.files.lock import folder_lock
from leafkit.files.partial import new_partial


def flush_to_disk(path: Path) -> None:
    """Flush the file or folder at ``path``, and return when its content is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes | str) -> None:
    """Write ``content`` to the file at ``path`` atomically: if the write fails, the old file is unchanged."""
    with atomic_file(path, wait=True) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def atomic_file(path: Path, *, wait: bool = False) -> Iterator[BinaryIO]:
    """Open a partial file for writing and rename it to ``path`` when the block ends.

    If the block raises, the partial file is deleted and the old file at ``path`` is unchanged. Raises `OutputError` for
    a folder or a device at ``path``, and while another process writes ``path``, unless ``wait`` is set.
    """
    with explain_disk_errors(path):
        if path.exists() and not path.is_file():
            raise OutputError(f"{path} is a folder or a device; expected a file. Choose another output path.")
    with explain_disk_errors(path), new_partial(path, folder=False, wait=wait) as partial:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        flush_to_disk(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON to the file at ``path``, atomically."""
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # A file name that is not UTF-8 becomes a string with lone surrogates, which JSON can only hold as escapes.
        text = json.dumps(content, indent=1).encode()
    write_file(path, text + b"\n")


@contextlib.contextmanager
def atomic_folder(path: Path, *, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """Create a partial folder to fill and rename it to ``path`` when the block ends.

    If the block raises, the partial folder is deleted and any old folder at ``path`` is unchanged. What a killed call
    left is deleted by the next one.

    Old and new files are never mixed: ``path`` must be missing or empty, or ``overwrite`` must be true and ``path``
    must contain the file ``marker``, which shows that leafkit wrote it. Before an old folder is replaced, the call
    waits for a process that holds that folder's lock, such as an update. Raises `OutputError` if ``path`` may not be
    written, or if another process is writing it.
    """
    with explain_disk_errors(path):
        path = path.resolve() if path.is_symlink() else path
    check_output_folder(path, marker=marker, overwrite=overwrite)
    with explain_disk_errors(path), parent_folders(path), new_partial(path, folder=True, wait=False) as partial:
        _restore(path)
        check_output_folder(path, marker=marker, overwrite=overwrite)
        yield partial
        for entry in [*sorted(partial.rglob("*")), partial]:
            flush_to_disk(entry)
        _move_into_place(partial, path, marker=marker, overwrite=overwrite)


@contextlib.contextmanager
def parent_folders(path: Path) -> Iterator[None]:
    """Create the missing parent folders of ``path``; if the block raises, delete those that are still empty."""
    missing = [parent for parent in path.parents if not parent.exists()]
    try:
        with explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for parent in missing:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def check_output_folder(path: Path, *, marker: str, overwrite: bool = False) -> None:
    """Raise `OutputError` unless `atomic_folder` may write to ``path``. Call this before expensive work."""
    with explain_disk_errors(path):
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return
    if not (path / marker).is_file():
        raise OutputError(
            f"{path} already exists and was not written by leafkit (it does not contain {marker}). "
            "Choose another output path."
        )
    if not overwrite:
        raise OutputError(f"{path} already exists. Choose another output path or add --overwrite to replace it.")


def _move_into_place(new: Path, path: Path, *, marker: str, overwrite: bool) -> None:
    """Rename the folder ``new`` to ``path`` and delete the folder that was there, if it may be overwritten."""
    while not _rename(new, path):
        check_output_folder(path, marker=marker, overwrite=overwrite)
        with contextlib.suppress(FileNotFoundError), folder_lock(path, warning=f"waiting: {path} is being updated"):
            check_output_folder(path, marker=marker, overwrite=overwrite)
            _replace(new, path)
            break
    flush_to_disk(path.parent)


def _rename(new: Path, path: Path) -> bool:
    """Rename the folder ``new`` to ``path`` and return True, or return False if a folder with files is there."""
    try:
        new.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _replace(new: Path, path: Path) -> None:
    """Let the folders ``new`` and ``path`` change places, and delete the old folder."""
    if _exchange(new, path):
        shutil.rmtree(new, ignore_errors=True)
        return
    old = _old_path(path)
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _restore(path: Path) -> None:
    """Finish what a call of `_replace` could not that was killed between two renames, or while it deleted a folder."""
    old = _old_path(path)
    if old.is_dir() and path.exists():
        shutil.rmtree(old)
    elif old.is_dir():
        old.rename(path)


def _old_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step and return True, or return False on a system without that operation.

    Linux has the system call renameat2 for it and macOS renamex_np. Python has no function for these calls.
    """
    import ctypes

    library, one, other = ctypes.CDLL(None), os.fsencode(first), os.fsencode(second)
    here, exchange = -100, 2  # AT_FDCWD; RENAME_EXCHANGE of Linux and RENAME_SWAP of macOS
    if rename := getattr(library, "renameat2", None):
        return rename(here, one, here, other, exchange) == 0
    swap = getattr(library, "renamex_np", None)
    return swap is not None and swap(one, other, exchange) == 0
