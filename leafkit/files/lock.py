"""Exclusive locks between processes, on Linux and macOS.

A lock belongs to the file or folder itself, not to its name: it stays when the file is renamed, and it ends with the
process that holds it, however that process ends.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from leafkit.errors import LeafkitError, OutputError
from leafkit.files.disk_errors import explain_disk_errors

log = logging.getLogger("leafkit")

_held: set[int] = set()  # the descriptors of the locks of this process


@contextmanager
def exclusive_lock(path: Path, *, error: str | None = None, warning: str | None = None) -> Iterator[None]:
    """Hold the exclusive lock on the file ``path`` during the block. The lock ends with the block or with the process.

    path: created if it is missing, with its parent folders.
    error: if another process holds the lock, raise `OutputError` with this message; the default is to wait.
    warning: logged before waiting for another process.

    Locks are advisory: they only exclude processes that lock the same path. Raises `LeafkitError` on a system without
    file locks, such as Windows.
    """
    with _locked(path, _open_file, error, warning):
        yield


@contextmanager
def folder_lock(path: Path, *, error: str | None = None, warning: str | None = None) -> Iterator[None]:
    """Hold the exclusive lock on the existing folder ``path`` during the block; see `exclusive_lock`.

    The lock is on the folder that is at ``path`` when the lock is taken, even if another process exchanged the folder
    while this one waited. Raises FileNotFoundError if no folder is there.
    """
    with _locked(path, _open_folder, error, warning):
        yield


def hold(path: Path, *, wait: bool) -> int | None:
    """Lock the existing file or folder at ``path``; return a descriptor for `release`, or None if another holds it.

    A symbolic link is not followed. The caller checks with `is_at` that the locked file is still at ``path``. Raises
    FileNotFoundError if nothing is there.
    """
    return _hold(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), wait=wait)


def release(descriptor: int) -> None:
    """Give up a lock that `hold` returned."""
    if descriptor in _held:
        _held.remove(descriptor)
        os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Tell whether the locked file or folder is still the one at ``path``, neither deleted nor replaced."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False


@contextmanager
def _locked(path: Path, opener: Callable[[Path], int], error: str | None, warning: str | None) -> Iterator[None]:
    with explain_disk_errors(path):
        descriptor = _lock_path(path, opener, error, warning)
    try:
        yield
    finally:
        release(descriptor)


def _lock_path(path: Path, opener: Callable[[Path], int], error: str | None, warning: str | None) -> int:
    wait = False
    while True:
        descriptor = _hold(opener(path), wait=wait)
        if descriptor is None:
            if error is not None:
                raise OutputError(error)
            if warning is not None:
                log.warning(warning)
            wait = True
        elif is_at(descriptor, path):
            return descriptor
        else:
            release(descriptor)


def _open_folder(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def _open_file(path: Path) -> int:
    """Create the file at ``path`` and open it; a process that just finished may delete its folder at the same time."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)


def _hold(descriptor: int, *, wait: bool) -> int | None:
    """Lock the open file and return its descriptor, or close it and return None if another process holds the lock."""
    try:
        locked = _flock(descriptor, wait=wait)
    except BaseException:
        os.close(descriptor)
        raise
    if not locked:
        os.close(descriptor)
        return None
    _held.add(descriptor)
    return descriptor


def _flock(descriptor: int, *, wait: bool) -> bool:
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


def _close_in_child() -> None:
    """Close the locks' descriptors in a forked process: a worker that outlives its parent must not keep the locks."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
