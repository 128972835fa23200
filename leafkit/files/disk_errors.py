"""Messages for writes that fail because of the disk."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from leafkit.errors import OutputError


@contextlib.contextmanager
def explain_disk_errors(path: Path) -> Iterator[None]:
    """Turn a failed write to ``path`` into an `OutputError` that names the cause and a way out.

    Covers a full disk, a missing permission, a read-only disk, a file that is too large, a name that is too long, a
    file in the place of a folder and a file system without file locks. Other errors pass through unchanged.
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
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP):
        return f"cannot write {path}: {error.strerror}. Choose another output path."
    if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
        return f"cannot lock {path}: this file system has no file locks. Choose an output path on another file system."
    # Some file systems, such as /proc, give odd reasons. The error must be about a file beside the output.
    other = Path(error.filename) if isinstance(error.filename, str) else path
    if (
        other != path
        and other.parent == path.parent
        and error.errno in (errno.ENOENT, errno.EINVAL, errno.EIO, errno.ENXIO)
    ):
        return f"cannot write {path}: {error.strerror}. Choose another output path."
    return None
