"""Exclusive locks between processes, on Linux and macOS."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leafkit.errors import LeafkitError, OutputError
from leafkit.files.atomic import explain_disk_errors

log = logging.getLogger("leafkit")


@contextmanager
def exclusive_lock(path: Path, *, error: str | None = None, warning: str | None = None) -> Iterator[None]:
    """Hold the exclusive lock on ``path`` during the block. The lock ends with the block or with the process.

    path: a folder, or a file that is created if it is missing.
    error: if another process holds the lock, raise `OutputError` with this message; the default is to wait.
    warning: logged before waiting for another process.

    Locks are advisory: they only exclude processes that lock the same path. Raises `LeafkitError` on a system without
    file locks, such as Windows.
    """
    mode = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    with explain_disk_errors(path):
        descriptor = os.open(path, mode, 0o666)
    try:
        if not _lock(descriptor, wait=False):
            if error is not None:
                raise OutputError(error)
            if warning is not None:
                log.warning(warning)
            _lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Lock the open file and return True, or return False if another process holds the lock and ``wait`` is false."""
    try:
        import fcntl
    except ImportError as error:
        raise LeafkitError(
            "leafkit cannot lock files on this system. Use Linux or macOS (or the Windows Subsystem for Linux)."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
