"""Apply an update to a package: write the files of its next generation, then let the manifest name them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError, InputError, OptionError
from leafkit.files.arrays import save_array
from leafkit.files.atomic import flush_to_disk
from leafkit.files.disk_errors import explain_disk_errors
from leafkit.index.columns import write_columns
from leafkit.index.documents import DocumentWriter, encode_documents, text_of, write_documents
from leafkit.index.fill import cosine_losses
from leafkit.index.lexical import LexicalWriter
from leafkit.index.lists_on_disk import RUN_ROWS, fill_on_disk, take_lists
from leafkit.index.package_files import (
    ADDED,
    check_in_place,
    describe_files,
    is_current,
    lists_name,
    part_name,
    provenance,
    remove_leftovers,
    spool_name,
    write_manifest,
)
from leafkit.index.vector_files import map_blocks, spool, write_rescoring_vectors
from leafkit.search.arrays import blocks_of
from leafkit.search.documents import Document, Documents
from leafkit.search.faiss_index import FaissIndex, faiss_threads
from leafkit.search.manifest import DOCUMENT_PARTS, LEXICAL_PARTS, Manifest, document_files, lexical_files
from leafkit.search.package import Package
from leafkit.search.rescoring import encode
from leafkit.types import Encoder, Float32, Int64

COMPACT_SHARE = 0.2  # an index is compacted when more than this share of its rows is removed
COMPACT_GRAPH_ROWS = 100_000  # the largest graph compacted without being asked: half a minute on two cores
FIT_ROWS = 16_384  # the last of the added documents, on which the fit of the codes is checked

log = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class UpdateCounts:
    """The result of an update: documents added and removed, unknown ids to remove, and documents in the index now.

    ``words`` says what happened to the words of all documents: ``stored``, ``dropped`` or nothing.
    """

    added: int
    removed: int
    missing: int
    count: int
    words: str = ""

    def __str__(self) -> str:
        missing = f" ({self.missing:,} more ids to remove were missing)" if self.missing else ""
        words = f"{self.words} the words of all documents; " if self.words else ""
        counts = f"added {self.added:,}, removed {self.removed:,}{missing}"
        return f"{words}{counts}; the index holds {self.count:,} documents"


def apply_update(
    package: Package,
    documents: Iterable[Document],
    encoder: Encoder | None,
    remove: Sequence[str],
    *,
    replace: bool = False,
    compact: bool | None = None,
    lexical: bool | None = None,
    threads: int | None = None,
) -> UpdateCounts:
    """Remove ids, append ``documents`` with the vectors of ``encoder``, and commit; see `update_index` for the options.

    ``package`` comes from `open_for_update`. ``encoder`` may be None if there are no documents. Whatever stops this
    call, the folder then holds the old index or the new one. Raises `InputError` for ids that exist already.
    """
    check_in_place(package)
    remove_leftovers(package.folder, package.manifest)
    with explain_disk_errors(package.folder), _only_named_files(package) as written, faiss_threads(threads):
        added = _write_added(package, documents)
        changes = _plan_changes(package, added, remove, replace=replace)
        next_generation = _NextGeneration(package, changes.live, added, encoder, lexical=lexical)
        if compact is None and not (len(added) or changes.newly_removed):
            compact = False
        if changes.newly_removed or next_generation.is_needed(compact):
            written.append(next_generation.write(compact))
    return UpdateCounts(
        added=len(added),
        removed=changes.removed,
        missing=changes.missing,
        count=int(changes.live.sum()) + len(added),
        words=next_generation.change_of_words,
    )


@contextmanager
def _only_named_files(package: Package) -> Iterator[list[Manifest]]:
    """Give a list for the new manifest, and afterwards delete all files that the manifest, old or new, does not name.

    Raises `OutputError` if a file is missing because another index took the folder's place.
    """
    written: list[Manifest] = []
    try:
        yield written
    except (FileNotFoundError, DamageError):
        check_in_place(package)
        raise
    finally:
        # The files of an index that took the folder's place are not this update's to delete.
        for manifest in (package.manifest, *written):
            if is_current(package.folder, manifest):
                remove_leftovers(package.folder, manifest)


def _write_added(package: Package, documents: Iterable[Document]) -> Documents:
    """Write the documents to add into temporary files, from which they are encoded and then copied."""
    generation = package.manifest.generation + 1
    files = document_files(package.folder, {part: ADDED + part_name(part, generation) for part in DOCUMENT_PARTS})
    return write_documents(files, documents)


@dataclass(frozen=True, kw_only=True)
class _Changes:
    """The old rows after an update: ``live`` is True for each that stays, ``newly_removed`` counts those that go.

    ``removed`` and ``missing`` count the ids to remove that were found and that were not.
    """

    live: NDArray[numpy.bool_]
    removed: int
    missing: int
    newly_removed: int


def _plan_changes(package: Package, added: Documents, remove: Sequence[str], *, replace: bool) -> _Changes:
    old, bitmap = package.documents(), package.live()
    live = numpy.ones(len(old), dtype=bool)
    if bitmap is not None:
        live = numpy.unpackbits(bitmap, count=len(old), bitorder="little").astype(bool)
    before = int(live.sum())
    ids = sorted(set(remove))
    rows = old.rows_of(ids)
    live[rows[rows >= 0]] = False
    removed = before - int(live.sum())
    rows = old.rows_of_keys(added.keys())
    existing = numpy.flatnonzero(rows >= 0)
    existing = existing[live[rows[existing]]]
    if len(existing) and not replace:
        names = ", ".join(repr(added[row].id) for row in existing[:5].tolist())
        more = f" and {len(existing) - 5} more" if len(existing) > 5 else ""
        raise InputError(
            f"{package.folder} already holds documents with the ids {names}{more}. Add --replace to replace them."
        )
    live[rows[existing]] = False
    newly_removed = before - int(live.sum())
    return _Changes(live=live, removed=removed, missing=len(ids) - removed, newly_removed=newly_removed)


class _NextGeneration:
    """The files of the generation after ``package``'s: the old rows, then the rows of ``added``.

    ``live`` is False for removed old rows. They stay in the files unless the index is compacted. ``lexical`` says
    whether the words are stored; None for words as in ``package``.
    """

    def __init__(
        self,
        package: Package,
        live: NDArray[numpy.bool_],
        added: Documents,
        encoder: Encoder | None,
        *,
        lexical: bool | None = None,
    ) -> None:
        self._package = package
        self._folder = package.folder
        self._old = package.manifest
        self._number = self._old.generation + 1
        self._live = live
        self._added = added
        self._encoder = encoder
        self._had_words = "words" in self._old.parts
        self._has_words = self._had_words if lexical is None else lexical
        # An older leafkit wrote no columns.
        self._adds_columns = lexical is not None and "columns" not in self._old.parts
        self._parts: dict[str, str] = {}

    def is_needed(self, compact: bool | None) -> bool:
        """Tell whether there is anything to write, apart from rows that this update removes."""
        rewrites = len(self._added) > 0 or (compact is True and not self._live.all())
        return rewrites or self.change_of_words != "" or self._adds_columns

    @property
    def change_of_words(self) -> str:
        """What happens to the words: ``stored``, ``dropped`` or nothing."""
        if self._has_words == self._had_words:
            return ""
        return "stored" if self._has_words else "dropped"

    def write(self, compact: bool | None) -> Manifest:
        """Write the files that change, then replace the manifest by the one that is returned."""
        removed = int((~self._live).sum())
        if compact is None:
            compact = self._is_worth_compacting(removed)
        compact = compact and removed > 0
        old_rows = numpy.flatnonzero(self._live) if compact else numpy.arange(len(self._live))
        live = numpy.concatenate([self._live[old_rows], numpy.ones(len(self._added), dtype=bool)])
        rewrites = compact or len(self._added) > 0
        if rewrites:
            self._write_vectors(old_rows, compact=compact)
            self._write_documents(old_rows, live)
        if self._has_words and (rewrites or not self._had_words):
            self._write_lexical(old_rows, live[: len(old_rows)])
        if rewrites or self._adds_columns:
            self._write_columns(old_rows, live)
        if not live.all():
            save_array(self._folder / self._new_name("live"), numpy.packbits(live, bitorder="little"))
        return self._commit(live)

    def _is_worth_compacting(self, removed: int) -> bool:
        if removed <= COMPACT_SHARE * len(self._live):
            return False
        slow = len(self._live) - removed > COMPACT_GRAPH_ROWS and self._package.index().is_graph
        if slow:
            log.warning(
                "%d of %d rows of %s are removed, but a search still visits them. "
                "Run leafkit update --compact, which links the graph again and takes long.",
                *(removed, len(self._live), self._folder),
            )
        return not slow

    def _write_documents(self, old_rows: Int64, live: NDArray[numpy.bool_]) -> None:
        files = document_files(self._folder, {part: self._new_name(part) for part in DOCUMENT_PARTS})
        with DocumentWriter(files) as writer:
            writer.copy(self._package.documents(), old_rows)
            writer.copy(self._added, numpy.arange(len(self._added)))
            writer.finish(live)

    def _write_lexical(self, old_rows: Int64, live: NDArray[numpy.bool_]) -> None:
        lexical, documents = self._package.lexical(), self._package.documents()
        files = lexical_files(self._folder, {part: self._new_name(part) for part in LEXICAL_PARTS})
        with LexicalWriter(files) as writer:
            if lexical is None:
                # A removed row must leave no word behind.
                rows = zip(old_rows.tolist(), live.tolist(), strict=True)
                writer.add(text_of(documents[row]) if kept else "" for row, kept in rows)
            else:
                writer.copy(lexical, old_rows, live)
            writer.add(map(text_of, self._added))
            writer.finish()

    def _write_columns(self, old_rows: Int64, live: NDArray[numpy.bool_]) -> None:
        """Write the columns from the payloads, like a build: a type or a limit may change with the documents."""
        old = self._package.documents()
        payloads = (old[row].payload if kept else {} for row, kept in zip(old_rows.tolist(), live))
        added = (document.payload for document in self._added)
        write_columns(self._folder / self._new_name("columns"), chain(payloads, added))

    def _write_vectors(self, old_rows: Int64, *, compact: bool) -> None:
        if not self._package.index().trained:
            raise OptionError(
                f"{self._folder} was built without documents, so its codes are not trained. Build the index again."
            )
        vectors = self._spool_vectors(old_rows if compact else old_rows[:0])
        path = self._folder / self._new_name("index")
        index = self._grow_on_disk(vectors, path, compact=compact) if len(self._live) > RUN_ROWS else None
        if index is None:
            index = self._package.index(memory_map=False)
            if compact:
                index.clear()
            for block in blocks_of(vectors):
                index.add(block)
            index.write(path)
        self._check_fit(index, self._added_rows(vectors))
        rescoring_vectors = self._package.rescoring_vectors()
        if rescoring_vectors is not None:
            precision = self._old.rescore
            copied = blocks_of(rescoring_vectors, old_rows)
            new = (encode(block, precision) for block in blocks_of(self._added_rows(vectors)))
            path, shape = self._folder / self._new_name("vectors"), (len(old_rows) + len(self._added), self._old.dim)
            write_rescoring_vectors(path, chain(copied, new), shape=shape, precision=precision)

    def _grow_on_disk(self, vectors: Float32, path: Path, *, compact: bool) -> FaissIndex | None:
        """Write the index with ``vectors`` to ``path``, after the old rows unless it is compacted.

        Returns an index of the last ``vectors`` alone, or None if there are no lists that can be merged on disk.
        """
        index = self._package.index()
        stored = take_lists(index, self._old.path(self._folder, "index"))
        if stored is None:
            return None
        spool = self._folder / lists_name(self._number)
        fill_on_disk(index, vectors, path, spool, stored=None if compact else stored)
        index.add(vectors[-FIT_ROWS:])
        return index

    def _spool_vectors(self, old_rows: Int64) -> Float32:
        """Spool the vectors to add to the index: the most exact stored ones of ``old_rows``, then those of new rows."""
        search = self._package.vector_search()
        # Sign bits must not change, but an int8 component that was rounded to 0 has lost its sign.
        exact = search.index.vectors if search.index.binary and search.index.can_reconstruct else search.vectors
        old = (exact(block) for block in blocks_of(old_rows))
        new = () if self._encoder is None else encode_documents(self._added, self._encoder)
        blocks = chain(old, map_blocks(new, self._package.mapping))
        path = self._folder / spool_name(self._number)
        return spool(path, blocks, rows=len(old_rows) + len(self._added), dim=self._old.dim)

    def _added_rows(self, vectors: Float32) -> Float32:
        return vectors[len(vectors) - len(self._added) :]

    def _check_fit(self, index: FaissIndex, vectors: Float32) -> None:
        """Warn if codes trained on the first documents represent the added ``vectors`` badly."""
        if self._old.rescore != "none" or not len(vectors):
            return
        vectors = vectors[-FIT_ROWS:]
        losses = cosine_losses(index.vectors(numpy.arange(len(index) - len(vectors), len(index))), vectors)
        bad = int((losses > 4 * self._old.loss + 1e-4).sum())
        if bad:
            log.warning(
                "%d of %d added documents fit the codes of %s badly: their cosines may be off by %.3f. "
                "Build the index again after adding many such documents.",
                *(bad, len(vectors), self._folder, float(numpy.sqrt(2 * losses.max()))),
            )

    def _new_name(self, part: str) -> str:
        """Return the file name of ``part`` in this generation, and record that this generation writes it."""
        self._parts[part] = part_name(part, self._number)
        return self._parts[part]

    def _commit(self, live: NDArray[numpy.bool_]) -> Manifest:
        """Flush the written files to disk, then replace the manifest by one that names them."""
        old, written = self._old, set(self._parts.values())
        for name in written:
            flush_to_disk(self._folder / name)
        dropped = {"live"} if self._has_words else {"live", *LEXICAL_PARTS}
        parts = {part: name for part, name in old.parts.items() if part not in dropped} | self._parts
        unchanged = {*parts.values(), *(old.files.keys() - set(old.parts.values()))} - written
        files = {name: old.files[name] for name in sorted(unchanged)} | describe_files(self._folder, sorted(written))
        new = replace(
            old,
            rows=len(live),
            count=int(live.sum()),
            generation=self._number,
            parts=parts,
            files=files,
            built={**old.built, "updated": provenance()},
        )
        check_in_place(self._package)
        write_manifest(self._folder, new)
        return new
