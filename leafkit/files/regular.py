"""Opening regular files only: a pipe or a device in a received folder would block a reader for ever."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path, *, follow_links: bool = True) -> BufferedReader:
    """Open the regular file at ``path`` for reading, without ever blocking.

    follow_links: whether ``path`` may be a symbolic link. The files of an index may not, because a link can lead out
        of the folder. The files of a student may: a hub's cache consists of links.

    Raises OSError: FileNotFoundError, PermissionError, or one that says what ``path`` is instead of a regular file.
    Call this within `leafkit.files.json_file.explain_invalid`, which turns the error into a message for the user.
    """
    if not follow_links and path.is_symlink():
        raise OSError(f"{path} is a symbolic link; expected a regular file")
    # Without O_NONBLOCK, opening a pipe waits for a writer. O_NOFOLLOW repeats the check above without a race.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'a special file')}; expected a regular file")
    return open(descriptor, "rb")
