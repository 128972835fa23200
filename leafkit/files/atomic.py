"""Files and folders that appear whole or not at all: written beside, flushed, then renamed into place."""

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
    """Turn a full disk or a refused write below ``path`` into an `OutputError` that says so."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"the disk is full: {path} was not written; free some space and run the same command again"
            ) from error
        if error.errno == errno.EFBIG:
            raise OutputError(f"{path} would be larger than files may be there; choose another place") from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise OutputError(
                f"{path} cannot be written: {error.filename}, or what it is in, is a file, wanted a folder; "
                "choose another place"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG):
            raise OutputError(f"{path} cannot be written: {error.strerror}; choose another place") from error
        raise


def flush_to_disk(path: Path) -> None:
    """Have the file or folder at ``path`` reach the disk before anything later does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes | str) -> None:
    """Replace the file at ``path`` by ``content`` in one step; the old file survives any failure."""
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which becomes ``path`` when the block ends well; the old file survives any failure."""
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
    """Replace the file at ``path`` by ``content`` as readable JSON in one step."""
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # A path whose bytes are no UTF-8 has lone surrogates, which only escapes can hold.
        text = json.dumps(content, indent=1).encode()
    write_file(path, text + b"\n")


@contextlib.contextmanager
def atomic_folder(path: Path, *, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes ``path`` when the block ends well and is removed when it does not.

    Nothing that exists is ever mixed with: ``path`` must be absent or empty, or, with ``overwrite``, hold
    the file ``marker``, which shows that leafkit wrote it. Raises `OutputError` otherwise.
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
            _swap(partial, path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def check_output_folder(path: Path, *, marker: str, overwrite: bool = False) -> None:
    """Raise `OutputError` unless `atomic_folder` may write to ``path``; costly work asks this first."""
    if path.is_dir() and not any(path.iterdir()):
        return
    if not path.exists():
        return
    if not (path / marker).is_file():
        raise OutputError(
            f"{path} already holds something that is not leafkit's (no {marker} in it); choose another output"
        )
    if not overwrite:
        raise OutputError(f"{path} already exists; choose another output or add --overwrite to replace it")


def _swap(new: Path, path: Path) -> None:
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


def _exchange(one: Path, other: Path) -> bool:
    """Whether two folders were made to change places in one step, which Linux can and Python has no call for."""
    import ctypes

    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0
