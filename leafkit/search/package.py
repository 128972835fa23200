"""An open index package: its folder, its manifest, and readers for each of its parts.

A package has one writer and any number of readers. An update (`leafkit.index.update`) writes changed files under the
number of the next generation and then replaces the manifest in one step. Even after a crash, readers therefore see the
old index or the new one, never a mixture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError
from leafkit.files.open_files import OpenFiles
from leafkit.search.arrays import read_array
from leafkit.search.columns import Columns
from leafkit.search.documents import Documents
from leafkit.search.faiss_index import Depth, FaissIndex, RowBits
from leafkit.search.lexical import Lexical
from leafkit.search.manifest import Manifest, lexical_files, open_files, read_manifest, read_manifest_text
from leafkit.search.rescoring import read_rescoring_vectors
from leafkit.search.vector_search import VectorSearch
from leafkit.space import Space
from leafkit.vectors.fingerprint import FINGERPRINT, Fingerprint, read_fingerprint
from leafkit.vectors.mapping import MAPPING_FILE, LinearMap, read_mapping

Opened = TypeVar("Opened")


@dataclass(frozen=True, slots=True)
class Package:
    """An index folder whose files match ``manifest``. All of its parts are read from the open ``files``.

    ``mapping`` turns vectors of the teacher into those of the index; None if the index holds the vectors it was given.
    """

    folder: Path
    manifest: Manifest
    files: OpenFiles
    mapping: LinearMap | None = None

    @property
    def teacher_space(self) -> Space:
        """The space of the document vectors before any mapping."""
        return self.mapping.base if self.mapping else self.manifest.space

    def fingerprint(self) -> Fingerprint | None:
        """Read the fingerprint of `teacher_space`; None if the index has none, and `DamageError` if it is damaged."""
        known = FINGERPRINT in self.manifest.files
        return read_fingerprint(self.folder, self.teacher_space, self.files) if known else None

    def documents(self, *, memory_map: bool = True) -> Documents:
        """Open the documents; raises `DamageError` if their number differs from the manifest's."""
        documents = Documents(self.manifest.document_files(self.folder), self.files, memory_map=memory_map)
        self._check_rows(len(documents), "documents")
        return documents

    def lexical(self, *, memory_map: bool = True) -> Lexical | None:
        """Open the words of the documents; None if the package was built without them."""
        if "words" not in self.manifest.parts:
            return None
        files = lexical_files(self.folder, self.manifest.parts)
        return Lexical(files, self.files, rows=self.manifest.rows, live=self.live(), memory_map=memory_map)

    def columns(self, *, memory_map: bool = True) -> Columns | None:
        """Open the columns for filters; None for a package written before there were any."""
        if "columns" not in self.manifest.parts:
            return None
        path = self.manifest.path(self.folder, "columns")
        return Columns(path, self.files, rows=self.manifest.rows, memory_map=memory_map)

    def index(self, *, memory_map: bool = True) -> FaissIndex:
        """Open the FAISS index. Rows can be added only without ``memory_map``."""
        manifest = self.manifest
        index = FaissIndex.read(
            manifest.path(self.folder, "index"),
            dim=manifest.dim,
            binary=manifest.precision == "binary",
            memory_map=memory_map,
            files=self.files,
        )
        self._check_rows(len(index), "index")
        return index

    def rescoring_vectors(self, *, memory_map: bool = True) -> NDArray[Any] | None:
        """Open the encoded rescoring vectors (rows, dim); None if the package has none."""
        if "vectors" not in self.manifest.parts:
            return None
        path = self.manifest.path(self.folder, "vectors")
        shape = (self.manifest.rows, self.manifest.dim)
        return read_rescoring_vectors(
            path, self.files, shape=shape, precision=self.manifest.rescore, memory_map=memory_map
        )

    def live(self) -> RowBits | None:
        """Read the bitmap of rows that are not removed; None if no row is removed."""
        if "live" not in self.manifest.parts:
            return None
        path = self.manifest.path(self.folder, "live")
        live: RowBits = read_array(path, self.files, memory_map=False)
        if live.shape != (-(-self.manifest.rows // 8),) or live.dtype != numpy.uint8:
            raise DamageError(
                f"{path} holds {live.dtype} of shape {live.shape}; expected one bit for each of "
                f"{self.manifest.rows} rows. Build the index again."
            )
        return live

    def vector_search(
        self,
        *,
        memory_map: bool = True,
        threads: int | None = 1,
        oversample: int | None = None,
        depth: Depth | None = None,
    ) -> VectorSearch:
        """Open the search from vectors to rows. With ``memory_map`` all document vectors stay in their files."""
        return VectorSearch(
            self.index(memory_map=memory_map),
            rescoring_vectors=self.rescoring_vectors(memory_map=memory_map),
            live=self.live(),
            oversample=oversample,
            depth=depth,
            threads=threads,
        )

    def _check_rows(self, rows: int, part: str) -> None:
        if rows != self.manifest.rows:
            path = self.manifest.path(self.folder, part)
            raise DamageError(
                f"{path} holds {rows} rows, but the manifest says {self.manifest.rows}. Build the index again."
            )


def open_package(folder: str | Path, *, verify: bool) -> Package:
    """Open the index at ``folder``; raises `DamageError` naming the first file that is missing, truncated or changed.

    With ``verify`` every byte is read and hashed (1 to 2 s per gigabyte). Without it only sizes are compared.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    files = open_files(folder, manifest, verify=verify)
    # A space can have a rotation without a mapping file: the indexed vectors came from a student of that rotation.
    mapping = read_mapping(folder, manifest.space, files) if MAPPING_FILE in manifest.files else None
    return Package(folder, manifest, files, mapping)


def retry_during_update(folder: Path, opener: Callable[[], Opened]) -> Opened:
    """Return ``opener()``, calling it again if it failed because an update or a build replaced ``folder``.

    Compares whole manifests: a new index begins again with generation 1.
    """
    while True:
        manifest = read_manifest_text(folder)
        try:
            return opener()
        except DamageError:
            if read_manifest_text(folder) == manifest:
                raise
