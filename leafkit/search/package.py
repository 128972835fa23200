"""The folder that an index is, opened: its manifest, documents and finder; one writer, any number of readers.

An update writes its changed files under the next generation's number and then replaces the manifest in one step,
so that a reader, or a machine that stops, sees the old index or the new one and never a mixture.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError
from leafkit.files.lock import exclusive_lock
from leafkit.search.documents import Documents
from leafkit.search.faiss_index import Bits, Depth, FaissIndex
from leafkit.search.finder import Finder
from leafkit.search.manifest import PARTS, Manifest, check_files, read_manifest
from leafkit.search.rescoring import read_array, read_kept
from leafkit.space import Space
from leafkit.vectors.mapping import MAPPING_FILE, LinearMap, read_mapping

Opened = TypeVar("Opened")

SPOOL = "spool"
ADDED = "added-"
_GENERATED = re.compile(rf"({ADDED})?({'|'.join([*PARTS, SPOOL])})-\d+\.({'|'.join([*PARTS.values(), 'raw'])})")


@dataclass(frozen=True, slots=True)
class Package:
    """An index folder whose files were checked against ``manifest``.

    ``mapping`` leads from the vectors that were indexed to those of the index, where they differ.
    """

    folder: Path
    manifest: Manifest
    mapping: LinearMap | None = None

    @property
    def teacher_space(self) -> Space:
        """The space of the vectors that were indexed, before any mapping."""
        return self.mapping.base if self.mapping else self.manifest.space

    def documents(self, *, memory_map: bool = True) -> Documents:
        """Ids and payload by row."""
        documents = Documents(self.manifest.document_files(self.folder), memory_map=memory_map)
        self._check_rows(len(documents), "documents")
        return documents

    def index(self, *, memory_map: bool = True) -> FaissIndex:
        """The FAISS index; without ``memory_map`` it can be added to."""
        manifest = self.manifest
        index = FaissIndex.read(
            manifest.path(self.folder, "index"),
            dim=manifest.dim,
            binary=manifest.precision == "binary",
            memory_map=memory_map,
        )
        self._check_rows(len(index), "index")
        return index

    def kept(self, *, memory_map: bool = True) -> NDArray[Any] | None:
        """The vectors kept for rescoring, as they are encoded."""
        if "vectors" not in self.manifest.parts:
            return None
        path = self.manifest.path(self.folder, "vectors")
        shape = (self.manifest.rows, self.manifest.dim)
        return read_kept(path, shape=shape, precision=self.manifest.rescore, memory_map=memory_map)

    def live(self) -> Bits | None:
        """A bit for each row that is not removed; None where none is."""
        if "live" not in self.manifest.parts:
            return None
        path = self.manifest.path(self.folder, "live")
        live: Bits = read_array(path, memory_map=False)
        if live.shape != (-(-self.manifest.rows // 8),) or live.dtype != numpy.uint8:
            raise DamageError(
                f"{path} does not hold a bit for each of {self.manifest.rows} rows; build the index again"
            )
        return live

    def finder(
        self,
        *,
        memory_map: bool = True,
        threads: int | None = 1,
        oversample: int | None = None,
        depth: Depth | None = None,
    ) -> Finder:
        """Rows by vector; with ``memory_map`` all vectors stay in their files."""
        return Finder(
            self.index(memory_map=memory_map),
            kept=self.kept(memory_map=memory_map),
            live=self.live(),
            oversample=oversample,
            depth=depth,
            threads=threads,
        )

    def _check_rows(self, rows: int, part: str) -> None:
        if rows != self.manifest.rows:
            path = self.manifest.path(self.folder, part)
            raise DamageError(
                f"{path} holds {rows} rows, the manifest says {self.manifest.rows}; build the index again"
            )


def open_package(folder: str | Path, *, verify: bool) -> Package:
    """The index at ``folder``; raises `DamageError` naming the first file that is missing, cut off or changed.

    With ``verify`` every byte is read and hashed (1 to 2 s a gigabyte), without it only sizes are compared.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    check_files(folder, manifest, verify=verify)
    # Vectors that a student of rotated coordinates wrote are indexed as they are, without a mapping.
    return Package(folder, manifest, read_mapping(folder, manifest.space) if MAPPING_FILE in manifest.files else None)


def steadily(folder: Path, opener: Callable[[], Opened]) -> Opened:
    """What ``opener`` gives, tried again where an update replaced files of ``folder`` while it opened them."""
    while True:
        generation = read_manifest(folder).generation
        try:
            return opener()
        except (DamageError, FileNotFoundError):
            if read_manifest(folder).generation == generation:
                raise


def remove_leftovers(folder: Path, manifest: Manifest) -> None:
    """Delete files of other generations: those an update replaced, and those a stopped update left."""
    for path in folder.iterdir():
        if _GENERATED.fullmatch(path.name) and path.name not in manifest.files:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the index at ``folder`` for writing; raises `OutputError` while another process does."""
    with exclusive_lock(folder, error=f"{folder} is being updated by another process. Run this command again later."):
        yield
