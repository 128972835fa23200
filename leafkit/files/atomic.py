"""Atomic writes: a file or folder is written under a temporary name, flushed to disk, then renamed into place."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from leafkit.errors import OutputError


@contextlib.contextmanager
def explain_disk_errors(path: Path) -> Iterator[None]:
    """Turn a failed write to ``path`` into an `OutputError` that names the cause and a way out.

    Covers a full disk, a missing permission, a read-only disk, a file that is too large, a name that is too long and a
    file in the place of a folder. Other errors pass through unchanged.
    """
    try:
        yield
    except OSError as error:
        message = _disk_error_message(path, error)
        if message is None:
            raise
        raise OutputError(message) from error


def _disk_error_message(path: Path, error: OSError) -> str | None:
    """Return the message for ``error`` while writing ``path``, or None for an error of another kind."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"cannot write {path}: the disk is full. Free some space and run the same command again."
    if error.errno == errno.EFBIG:
        return f"{path} exceeds the maximum file size of this file system. Write to another disk."
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return (
            f"cannot create {path}: {error.filename} or one of its parents is a file, not a folder. "
            "Choose another output path."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG):
        return f"cannot write {path}: {error.strerror}. Choose another output path."
    return None


def flush_to_disk(path: Path) -> None:
    """Flush the file or folder at ``path``, and return when its content is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes | str) -> None:
    """Write ``content`` to the file at ``path`` atomically: if the write fails, the old file is unchanged."""
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file for writing and rename it to ``path`` when the block ends.

    If the block raises, the temporary file is deleted and the old file at ``path`` is unchanged.
    """
    with explain_disk_errors(path):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
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
    """Create a temporary folder to fill and rename it to ``path`` when the block ends.

    If the block raises, the temporary folder is deleted and any old folder at ``path`` is unchanged.
    Old and new files are never mixed: ``path`` must be missing or empty, or ``overwrite`` must be true and ``path``
    must contain the file ``marker``, which shows that leafkit wrote it. Raises `OutputError` otherwise.
    """
    check_output_folder(path, marker=marker, overwrite=overwrite)
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.partial-"))
        try:
            partial.chmod(0o755)
            yield partial
            for entry in sorted(partial.rglob("*")):
                flush_to_disk(entry)
            _move_into_place(partial, path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def check_output_folder(path: Path, *, marker: str, overwrite: bool = False) -> None:
    """Raise `OutputError` unless `atomic_folder` may write to ``path``. Call this before expensive work."""
    if path.is_dir() and not any(path.iterdir()):
        return
    if not path.exists():
        return
    if not (path / marker).is_file():
        raise OutputError(
            f"{path} already exists and was not written by leafkit (it does not contain {marker}). "
            "Choose another output path."
        )
    if not overwrite:
        raise OutputError(f"{path} already exists. Choose another output path or add --overwrite to replace it.")


def _move_into_place(new: Path, path: Path) -> None:
    """Rename the folder ``new`` to ``path`` and delete the folder that was there."""
    if not (path.exists() and any(path.iterdir())):
        new.rename(path)
    elif _exchange(new, path):
        shutil.rmtree(new, ignore_errors=True)
    else:
        old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old-"))
        path.rename(old)
        try:
            new.rename(path)
        except BaseException:
            old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    flush_to_disk(path.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step and return True, or return False on a system without that operation.

    Linux has the system call renameat2 for it. Python has no function for this call.
    """
    import ctypes

    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0
