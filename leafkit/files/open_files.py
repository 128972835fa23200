"""Open files of a received folder: each is opened once, so that what was hashed is what is read."""

from __future__ import annotations

import hashlib
import weakref
from io import BufferedReader
from pathlib import Path
from types import TracebackType

from leafkit.files.regular import open_regular


class OpenFiles:
    """The files below ``root`` that were opened so far, by their path.

    A file that another process replaces stays open, with the content that was there first.
    """

    def __init__(self, root: Path, *, follow_links: bool) -> None:
        """Open nothing yet. Without ``follow_links`` no file below ``root``, and no folder of one, may be a link."""
        self.root = root
        self._follow_links = follow_links
        self._files: dict[Path, BufferedReader] = {}

    def __enter__(self) -> OpenFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def has(self, path: Path) -> bool:
        """Tell whether the file at ``path`` is open already, even if it was deleted since, or exists."""
        return path in self._files or path.is_file()

    def open(self, path: Path) -> BufferedReader:
        """Return the open file at ``path``, at its start; raise OSError as `open_regular` does.

        The file belongs to this object: do not close it.
        """
        file = self._files.get(path)
        if file is None:
            if not self._follow_links:
                self._refuse_linked_folders(path)
            file = self._files[path] = open_regular(path, follow_links=self._follow_links)
        file.seek(0)
        return file

    def read(self, path: Path, *, most_bytes: int) -> bytes:
        """Return the content of the file at ``path``; raise ValueError for more than ``most_bytes``."""
        content = self.open(path).read(most_bytes + 1)
        if len(content) > most_bytes:
            raise ValueError(f"the file is larger than {most_bytes} bytes")
        return content

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of the file at ``path`` as hexadecimal digits, reading the file in constant memory."""
        return hashlib.file_digest(self.open(path), "sha256").hexdigest()

    def take(self, folder: Path) -> OpenFiles:
        """Return the open files in ``folder`` as an object of their own, which now owns them.

        They are closed with that object, or when nothing refers to it any more.
        """
        taken = OpenFiles(self.root, follow_links=self._follow_links)
        taken._files |= {path: self._files.pop(path) for path in list(self._files) if folder in path.parents}
        weakref.finalize(taken, _close, taken._files)
        return taken

    def close(self) -> None:
        """Close all files. Memory maps of them stay valid."""
        _close(self._files)

    def _refuse_linked_folders(self, path: Path) -> None:
        for name in list(path.relative_to(self.root).parents)[:-1]:
            if (self.root / name).is_symlink():
                raise OSError(f"the folder {self.root / name} is a symbolic link; expected a folder")


def _close(files: dict[Path, BufferedReader]) -> None:
    for file in files.values():
        file.close()
    files.clear()
