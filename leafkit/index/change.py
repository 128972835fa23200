"""The next generation of an index: what an update removes and adds, and the files that come of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy
from numpy.typing import NDArray

from leafkit.errors import InputError, OptionError
from leafkit.files.atomic import explain_disk_errors, flush_to_disk
from leafkit.index.assemble import VectorsOf, spool
from leafkit.search.documents import Document, Documents, DocumentWriter, write_documents
from leafkit.search.faiss_index import FaissIndex, threads
from leafkit.search.finder import losses
from leafkit.search.manifest import (
    DOCUMENT_PARTS,
    describe_files,
    document_files,
    how,
    part_name,
    read_manifest,
    write_manifest,
)
from leafkit.search.package import ADDED, SPOOL, Package, remove_leftovers
from leafkit.search.rescoring import blocks_of, encode, write_kept
from leafkit.types import Float32, Int64

COMPACT_SHARE = 0.2
COMPACT_GRAPH_ROWS = 100_000  # linked in half a minute on two cores
FIT_ROWS = 16_384  # the last added documents, whose fit is checked

log = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class UpdateCounts:
    """What an update did: ``missing`` ids were to be removed and are not in the index, ``count`` is left."""

    added: int
    removed: int
    missing: int
    count: int

    def __str__(self) -> str:
        missing = f" ({self.missing:,} more to remove were not there)" if self.missing else ""
        return f"added {self.added:,}, removed {self.removed:,}{missing}; the index holds {self.count:,} documents"


def apply_change(
    package: Package,
    documents: Iterable[Document],
    vectors_of: VectorsOf | None,
    remove: Sequence[str],
    *,
    replace: bool = False,
    compact: bool | None = None,
    thread_count: int | None = None,
) -> UpdateCounts:
    """Remove ids, append ``documents`` with the vectors that ``vectors_of`` gives them, and commit; see `update_index`.

    Call it as the only writer. Whatever stops it, the folder is the old index or the new one.
    """
    folder = package.folder
    remove_leftovers(folder, package.manifest)
    with explain_disk_errors(folder), _tidied(folder), threads(thread_count):
        added = _write_added(package, documents)
        change = _plan(package, added, remove, replace=replace)
        if len(added) or change.dead or (compact and not change.alive.all()):
            _Generation(package, change.alive, added, vectors_of).commit(compact)
    return UpdateCounts(
        added=len(added),
        removed=change.removed,
        missing=change.missing,
        count=int(change.alive.sum()) + len(added),
    )


@contextmanager
def _tidied(folder: Path) -> Iterator[None]:
    """Leave only the files that the manifest names at the end, be it the old manifest or the new one."""
    try:
        yield
    finally:
        remove_leftovers(folder, read_manifest(folder))


def _write_added(package: Package, documents: Iterable[Document]) -> Documents:
    generation = package.manifest.generation + 1
    files = document_files(package.folder, {part: ADDED + part_name(part, generation) for part in DOCUMENT_PARTS})
    write_documents(files, documents)
    return Documents(files)


@dataclass(frozen=True, kw_only=True)
class _Change:
    """``alive``: a truth for each old row. ``removed``, ``missing``: of the ids to remove. ``dead``: rows that die."""

    alive: NDArray[numpy.bool_]
    removed: int
    missing: int
    dead: int


def _plan(package: Package, added: Documents, remove: Sequence[str], *, replace: bool) -> _Change:
    old, live = package.documents(), package.live()
    alive = numpy.ones(len(old), dtype=bool)
    if live is not None:
        alive = numpy.unpackbits(live, count=len(old), bitorder="little").astype(bool)
    before = int(alive.sum())
    wanted = sorted(set(remove))
    rows = old.rows_of(wanted)
    alive[rows[rows >= 0]] = False
    removed = before - int(alive.sum())
    rows = old.rows_of_keys(added.keys())
    taken = numpy.flatnonzero(rows >= 0)
    taken = taken[alive[rows[taken]]]
    if len(taken) and not replace:
        names = ", ".join(repr(added[row].id) for row in taken[:5].tolist())
        more = f" and {len(taken) - 5} more" if len(taken) > 5 else ""
        raise InputError(f"{package.folder} holds these ids already: {names}{more}; add --replace to replace them")
    alive[rows[taken]] = False
    dead = before - int(alive.sum())
    return _Change(alive=alive, removed=removed, missing=len(wanted) - removed, dead=dead)


class _Generation:
    """The files of the generation after ``package``'s: old rows that are ``alive``, then the ``added``."""

    def __init__(
        self, package: Package, alive: NDArray[numpy.bool_], added: Documents, vectors_of: VectorsOf | None
    ) -> None:
        self._package = package
        self._folder = package.folder
        self._old = package.manifest
        self._number = self._old.generation + 1
        self._alive = alive
        self._added = added
        self._vectors_of = vectors_of
        self._parts: dict[str, str] = {}

    def commit(self, compact: bool | None) -> None:
        """Write what changes, then have the manifest name it."""
        dropped = int((~self._alive).sum())
        if compact is None:
            compact = self._worth_compacting(dropped)
        compact = compact and dropped > 0
        rest = numpy.flatnonzero(self._alive) if compact else numpy.arange(len(self._alive))
        alive = self._alive[rest]
        alive = numpy.concatenate([alive, numpy.ones(len(self._added), dtype=bool)])
        if compact or len(self._added):
            self._write_vectors(rest, compact=compact)
            with DocumentWriter(
                document_files(self._folder, {part: self._new_name(part) for part in DOCUMENT_PARTS})
            ) as writer:
                writer.copy(self._package.documents(), rest)
                writer.copy(self._added, numpy.arange(len(self._added)))
                writer.finish(alive)
        if not alive.all():
            numpy.save(self._folder / self._new_name("live"), numpy.packbits(alive, bitorder="little"))
        self._commit(alive)

    def _worth_compacting(self, dropped: int) -> bool:
        if dropped <= COMPACT_SHARE * len(self._alive):
            return False
        slow = len(self._alive) - dropped > COMPACT_GRAPH_ROWS and self._package.index().graph
        if slow:
            log.warning(
                "%d of %d rows of %s are removed but still searched past; compact it when there is time",
                *(dropped, len(self._alive), self._folder),
            )
        return not slow

    def _write_vectors(self, rest: Int64, *, compact: bool) -> None:
        index = self._package.index(memory_map=False)
        if not index.trained:
            raise OptionError(f"{self._folder} was built without documents, so its codes fit nothing; build it again")
        new = self._spooled(rest if compact else rest[:0])
        if compact:
            index.clear()
        for block in blocks_of(new):
            index.add(block)
        self._check_fit(index, self._tail(new))
        index.write(self._folder / self._new_name("index"))
        kept = self._package.kept()
        if kept is not None:
            codes = chain(
                blocks_of(kept, rest), (encode(block, self._old.rescore) for block in blocks_of(self._tail(new)))
            )
            shape = (len(rest) + len(self._added), self._old.dim)
            write_kept(self._folder / self._new_name("vectors"), codes, shape=shape, precision=self._old.rescore)

    def _spooled(self, rows: Int64) -> Float32:
        """The vectors to add: those of old ``rows`` first, as far as the index and what is kept know them."""
        finder = self._package.finder()
        # Sign bits stay what they were; a kept int8 component of 0 has lost its sign.
        exact = finder.index.vectors if finder.index.binary and finder.index.keeps_vectors else finder.vectors
        old = (exact(block) for block in blocks_of(rows))
        blocks = chain(old, self._vectors_of(self._added) if self._vectors_of else ())
        path = self._folder / f"{SPOOL}-{self._number}.raw"
        return spool(path, blocks, rows=len(rows) + len(self._added), dim=self._old.dim)

    def _tail(self, vectors: Float32) -> Float32:
        return vectors[len(vectors) - len(self._added) :]

    def _check_fit(self, index: FaissIndex, vectors: Float32) -> None:
        if self._old.rescore != "none" or not len(vectors):
            return
        vectors = vectors[-FIT_ROWS:]
        lost = losses(index.vectors(numpy.arange(len(index) - len(vectors), len(index))), vectors)
        bad = int((lost > 4 * self._old.loss + 1e-4).sum())
        if bad:
            log.warning(
                "%d of %d added documents fit the codes of %s badly: their cosines may be off by %.3f; "
                "build the index again when many such documents have come",
                *(bad, len(vectors), self._folder, float(numpy.sqrt(2 * lost.max()))),
            )

    def _new_name(self, part: str) -> str:
        self._parts[part] = part_name(part, self._number)
        return self._parts[part]

    def _commit(self, alive: NDArray[numpy.bool_]) -> None:
        old, written = self._old, set(self._parts.values())
        for name in written:
            flush_to_disk(self._folder / name)
        parts = {part: name for part, name in old.parts.items() if part != "live"} | self._parts
        named = {*parts.values(), *(old.files.keys() - set(old.parts.values()))} - written
        files = {name: old.files[name] for name in sorted(named)} | describe_files(self._folder, sorted(written))
        write_manifest(
            self._folder,
            replace(
                old,
                rows=len(alive),
                count=int(alive.sum()),
                generation=self._number,
                parts=parts,
                files=files,
                built={**old.built, "updated": how()},
            ),
        )
