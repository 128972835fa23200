"""The partial file or folder beside an output: where the output is written before it is renamed into place.

The partial of ``NAME`` is ``.NAME.partial``. Its writer holds a lock on it, which ends with the process. So the next
writer of ``NAME`` can tell a partial in use, which stays, from one that a killed process left, which is deleted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from leafkit.errors import OutputError
from leafkit.files.lock import hold, is_at, release


def partial_path(path: Path) -> Path:
    """Return the path of the partial of the output ``path``."""
    return path.with_name(f".{path.name}.partial")


@contextlib.contextmanager
def new_partial(path: Path, *, folder: bool, wait: bool) -> Iterator[Path]:
    """Create an empty partial of the output ``path``, a file or a ``folder``, and lock it during the block.

    A partial that a killed process left is deleted first, and the new one is deleted if the block raises. File modes
    follow the user's umask.

    wait: wait while another process writes ``path``; the default is to raise `OutputError`.
    """
    partial = partial_path(path)
    descriptor = _claim(partial, path, folder=folder, wait=wait)
    try:
        yield partial
    except BaseException:
        if is_at(descriptor, partial):
            with contextlib.suppress(OSError):
                delete(partial)
        raise
    finally:
        release(descriptor)


def delete(path: Path) -> None:
    """Delete the file, the link or the whole folder at ``path``."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _claim(partial: Path, path: Path, *, folder: bool, wait: bool) -> int:
    """Create ``partial`` and lock it; return the descriptor of the lock.

    Between creation and lock another process may take the partial for one that a killed process left. So the lock
    alone decides who owns a partial: whoever holds the lock on an empty one that is still in place.
    """
    while True:
        _create(partial, folder=folder)
        try:
            descriptor = hold(partial, wait=wait)
        except FileNotFoundError:
            continue
        if descriptor is None:
            raise OutputError(
                f"another process is writing {path}. Wait until that process has finished or choose another output "
                "path."
            )
        try:
            if is_at(descriptor, partial):
                if _is_empty(partial, folder=folder):
                    return descriptor
                delete(partial)
        except BaseException:
            release(descriptor)
            raise
        release(descriptor)


def _create(partial: Path, *, folder: bool) -> None:
    with contextlib.suppress(FileExistsError):
        if folder:
            partial.mkdir()
        else:
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _is_empty(partial: Path, *, folder: bool) -> bool:
    if partial.is_dir():
        return folder and not any(partial.iterdir())
    return not folder and partial.is_file() and partial.stat().st_size == 0
