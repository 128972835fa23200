"""The cache of teacher vectors on disk: append-only, resumable and verified. Each text is encoded once per space.

A store is a folder ``<space id>-<dtype>`` with three files: ``keys.bin`` (16 bytes per text), ``vectors.bin`` (one row
per text) and ``manifest.json``, which records the space and lists the committed blocks with their checksums. A block is
committed when the manifest lists it. Bytes that a killed run wrote after the last committed block are truncated by the
next run that writes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy

from leafkit.errors import DamageError, OptionError, VectorError
from leafkit.files.atomic import write_json
from leafkit.files.disk_errors import explain_disk_errors
from leafkit.files.json_file import explain_invalid, read_json_object
from leafkit.files.lock import exclusive_lock
from leafkit.files.progress import progress
from leafkit.space import Space, require_same
from leafkit.texts.batches import length_batches
from leafkit.types import Encoder, Float32, Int64, Role
from leafkit.vectors.adopted import exact_teacher
from leafkit.vectors.block_checks import BlockChecks
from leafkit.vectors.check import check_vectors
from leafkit.vectors.cosine import unit_rows
from leafkit.vectors.encode import encode_by_role
from leafkit.vectors.keys import KEY_BYTES, KeyIndex, Keys, expand_roles, first_occurrences, text_keys

# Texts per block. A killed run loses at most one block, and the texts of a block are sorted by length.
BLOCK = 4096
# Texts per block of a teacher that answers in parts, each of which may have cost money, and seconds between blocks.
PART, PAUSE = 1024, 10.0
PIECE = 2**18  # characters encoded between two updates of the progress bar: one minute of a large model on one core
DTYPES = ("float16", "float32")
VERSION = 1


def default_cache() -> Path:
    """Return the default folder of teacher vectors: ``$LEAFKIT_CACHE``, or else ``~/.cache/leafkit``."""
    return Path(os.environ.get("LEAFKIT_CACHE") or Path.home() / ".cache" / "leafkit")


def is_exact(encoder: Encoder) -> bool:
    """Tell whether the vectors of ``encoder`` are the teacher's own, not those of a student (``approximate``)."""
    return not getattr(encoder, "approximate", False)


def check_exact(encoder: Encoder) -> None:
    """Raise `OptionError` for a student: the cache must hold the vectors of the teacher only."""
    if not is_exact(encoder):
        raise OptionError("cannot cache the vectors of a student: the cache is for teachers. Open the teacher instead.")


@runtime_checkable
class PartsTeacher(Encoder, Protocol):
    """A teacher that answers in parts, any of which may fail after others have cost money."""

    def encode_each(self, texts: Sequence[str], roles: Sequence[Role]) -> Generator[tuple[Int64, Float32]]:
        """Yield positions in ``texts`` and their vectors, (positions, dim), as the answers come.

        Closing the generator ends the requests that are on their way.
        """
        ...


class VectorStore:
    """The vectors of one space in one precision. One process writes at a time, others wait; reading needs no lock."""

    def __init__(self, path: Path, space: Space, dtype: str) -> None:
        """Load the store in the folder ``path``, which may be missing; use `VectorStore.open` instead."""
        self.path = path
        self.space = space
        self.dtype = numpy.dtype(dtype)
        self._blocks: list[dict[str, Any]] = []
        self._keys = KeyIndex.empty()
        self._map: numpy.memmap[Any, Any] | None = None
        advice = self._delete_advice
        self._key_checks = BlockChecks(self._keys_file, KEY_BYTES, checksum="sha256_keys", advice=advice)
        self._checks = BlockChecks(self._vectors_file, self._row_bytes, checksum="sha256_vectors", advice=advice)
        self._load()

    @classmethod
    def open(cls, root: Path | None, space: Space, *, dtype: str = "float16") -> VectorStore:
        """Open the store of ``space`` in the folder ``root`` (None: `default_cache`); its folder may be missing.

        dtype: the precision of the stored vectors, ``float16`` or ``float32``.

        Raises `DamageError` if a file is shorter than its manifest says or belongs to another space.
        """
        if dtype not in DTYPES:
            raise OptionError(f"unknown precision {dtype!r} of teacher vectors; expected float16 or float32.")
        return cls((root or default_cache()) / f"{space.id}-{dtype}", space, dtype)

    def __len__(self) -> int:
        return self._rows

    def rows(self, texts: Sequence[str], roles: Sequence[Role] | Role) -> Int64:
        """Return the row of each text in its role, shape (texts,), -1 for a text that is not in the store."""
        return self._index().find(text_keys(texts, expand_roles(roles, len(texts))))

    def fill(
        self, teacher: Encoder, texts: Sequence[str], roles: Sequence[Role] | Role, *, label: str = "teacher"
    ) -> Int64:
        """Let the teacher encode all texts that are not in the store yet, and return the row of every text, (texts,).

        roles: the role of each text, or one role for all.
        label: the label of the progress bar.

        Texts are committed in blocks. After a kill at any point, the same call continues, and the final files are
        equal byte for byte to those of an uninterrupted run. Raises `VectorError` for vectors that cannot be used and
        `OutputError` for a full disk.
        """
        check_exact(teacher)
        teacher = exact_teacher(teacher)
        require_same(self.space, teacher.space, expected_by=f"the store {self.path}", got_from="the teacher")
        text_roles = expand_roles(roles, len(texts))
        keys = text_keys(texts, text_roles)
        rows = self._index().find(keys)
        if (rows >= 0).all():
            return rows
        with self._write_lock():
            missing = numpy.flatnonzero(self._index().find(keys) < 0)
            missing = missing[first_occurrences(keys[missing])]
            with progress(label, total=len(missing), unit="texts") as bar:
                if isinstance(teacher, PartsTeacher):
                    missing = self._copy(texts, text_roles, keys, missing, bar.update)
                    self._fill_parts(teacher, texts, text_roles, keys, missing, bar.update)
                else:
                    self._fill_blocks(teacher, texts, text_roles, keys, missing, bar.update)
        return self._index().find(keys)

    def _fill_blocks(
        self,
        teacher: Encoder,
        texts: Sequence[str],
        roles: Sequence[Role],
        keys: Keys,
        missing: Int64,
        advance: Callable[[int], object],
    ) -> None:
        """Encode and commit the texts at the positions ``missing`` in blocks."""
        for start in range(0, len(missing), BLOCK):
            block = missing[start : start + BLOCK]
            block_texts = [texts[int(row)] for row in block]
            block_roles: list[Role] = [roles[int(row)] for row in block]
            vectors = self._encode(teacher, block_texts, block_roles, advance)
            self._append(keys[block].tobytes(), vectors, len(block))

    def _copy(
        self,
        texts: Sequence[str],
        roles: Sequence[Role],
        keys: Keys,
        missing: Int64,
        advance: Callable[[int], object],
    ) -> Int64:
        """Take vectors that cost money from the store in float32, and return the positions that are still missing."""
        exact = self.in_float32
        if exact.path == self.path or not len(exact):
            return missing
        rows = exact.rows([texts[int(row)] for row in missing], [roles[int(row)] for row in missing])
        found = numpy.flatnonzero(rows >= 0)
        for start in range(0, len(found), BLOCK):
            block = found[start : start + BLOCK]
            vectors = self._stored(exact.gather(rows[block]), len(block))
            self._append(keys[missing[block]].tobytes(), vectors, len(block))
            advance(len(block))
        return missing[rows < 0]

    def _fill_parts(
        self,
        teacher: PartsTeacher,
        texts: Sequence[str],
        roles: Sequence[Role],
        keys: Keys,
        missing: Int64,
        advance: Callable[[int], object],
    ) -> None:
        """Commit the vectors of the texts at the positions ``missing`` as they come, whatever happens to the rest."""
        rows: list[Int64] = []
        vectors: list[bytes] = []

        def commit() -> None:
            if rows:
                together = missing[numpy.concatenate(rows)]
                self._append(keys[together].tobytes(), b"".join(vectors), len(together))
                rows.clear()
                vectors.clear()

        asked = [texts[int(row)] for row in missing]
        committed = time.monotonic()
        try:
            with contextlib.closing(teacher.encode_each(asked, [roles[int(row)] for row in missing])) as parts:
                for positions, found in parts:
                    vectors.append(self._stored(found, len(positions)))
                    rows.append(positions)
                    advance(len(positions))
                    if sum(map(len, rows)) >= PART or time.monotonic() - committed > PAUSE:
                        commit()
                        committed = time.monotonic()
        finally:
            commit()

    @property
    def in_float32(self) -> VectorStore:
        """The store of the same space in float32, whose vectors need only rounding for this store."""
        return VectorStore.open(self.path.parent, self.space, dtype="float32")

    def gather(self, rows: Int64) -> Float32:
        """Return the vectors at ``rows``, shape (len(rows), dim), float32, of length 1 if the space is normalised.

        A block of the store is compared with its checksum before its first row is returned. Raises `VectorError` for a
        row that is not in the store, and `DamageError` naming a block whose bytes were changed.
        """
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise VectorError(f"{self.path} has {len(self)} vectors; rows {rows.min()} to {rows.max()} were requested.")
        if not len(rows):
            return numpy.empty((0, self.space.dim), dtype=numpy.float32)
        self._checks.check_rows(rows)
        if self._map is None:
            shape = (len(self), self.space.dim)
            self._map = numpy.memmap(self._vectors_file, dtype=self.dtype, mode="r", shape=shape)
        vectors = self._map[rows].astype(numpy.float32, copy=False)
        # Rounding to float16 changes a length by up to 5e-4: restore length 1.
        return unit_rows(vectors) if self.space.normalised and self.dtype == numpy.float16 else vectors

    def verify(self) -> None:
        """Compare every block with its checksum; raise `DamageError` naming the first block that differs."""
        self._key_checks.check_from(0)
        self._checks.check_from(0)

    @property
    def _keys_file(self) -> Path:
        return self.path / "keys.bin"

    @property
    def _vectors_file(self) -> Path:
        return self.path / "vectors.bin"

    @property
    def _manifest_file(self) -> Path:
        return self.path / "manifest.json"

    @property
    def _delete_advice(self) -> str:
        return f"Delete {self.path} and run the command again: the teacher will encode the texts again."

    @property
    def _row_bytes(self) -> int:
        return self.space.dim * self.dtype.itemsize

    def _encode(self, teacher: Encoder, texts: list[str], roles: list[Role], advance: Callable[[int], object]) -> bytes:
        vectors = numpy.empty((len(texts), self.space.dim), dtype=numpy.float32)
        # Pieces of texts of similar length, so that the encoder can make full batches of each piece.
        for piece in length_batches(numpy.fromiter(map(len, texts), dtype=numpy.int64), tokens=PIECE):
            piece_texts, piece_roles = [texts[i] for i in piece], [roles[i] for i in piece]
            vectors[piece] = encode_by_role(teacher, piece_texts, piece_roles, source="the teacher")
            advance(len(piece))
        return self._stored(vectors, len(texts))

    def _stored(self, vectors: Float32, rows: int) -> bytes:
        with numpy.errstate(over="ignore"):
            stored = vectors.astype(self.dtype)
        source = f"the teacher's vectors in {self.dtype} (float32 holds larger numbers)"
        check_vectors(stored, rows=rows, dim=self.space.dim, source=source)
        return stored.tobytes()

    def _append(self, keys: bytes, vectors: bytes, rows: int) -> None:
        self._truncate()  # an interrupted call, which may be repeated, has left bytes
        for file, content in ((self._keys_file, keys), (self._vectors_file, vectors)):
            with explain_disk_errors(file), open(file, "ab") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
        sums = {"sha256_keys": hashlib.sha256(keys).hexdigest(), "sha256_vectors": hashlib.sha256(vectors).hexdigest()}
        self._commit([*self._blocks, {"rows": rows, **sums}])

    def _commit(self, blocks: list[dict[str, Any]]) -> None:
        description = {
            "format": "leafkit-vectors",
            "version": VERSION,
            "space": self.space.to_json(),
            "dtype": self.dtype.name,
            "dim": self.space.dim,
        }
        write_json(self._manifest_file, {**description, "blocks": blocks})
        self._set_blocks(blocks)

    def _set_blocks(self, blocks: list[dict[str, Any]]) -> None:
        same = blocks[: len(self._blocks)] == self._blocks
        if not same:
            self._keys = KeyIndex.empty()
        for checks in (self._key_checks, self._checks):
            checks.set_blocks(blocks, keep=same)
        self._blocks = blocks
        self._rows = sum(block["rows"] for block in blocks)
        self._map = None

    def _index(self) -> KeyIndex:
        known = len(self._keys)
        if known < len(self):
            self._key_checks.check_from(known)
            added = numpy.fromfile(
                self._keys_file, dtype=numpy.uint64, offset=known * KEY_BYTES, count=2 * (len(self) - known)
            )
            self._keys = self._keys.extended(added.reshape(-1, 2))
        return self._keys

    def _load(self) -> None:
        self._set_blocks(self._read_blocks() if self._manifest_file.is_file() else [])
        for file, width in ((self._keys_file, KEY_BYTES), (self._vectors_file, self._row_bytes)):
            size = file.stat().st_size if file.is_file() else 0
            if size < len(self) * width:
                raise DamageError(
                    f"{file} is truncated: it has {size} bytes, but its manifest records {len(self) * width}. "
                    f"{self._delete_advice}"
                )

    def _read_blocks(self) -> list[dict[str, Any]]:
        file = self._manifest_file
        with explain_invalid(file, expected="a manifest of teacher vectors", advice=f"Delete {self.path}."):
            manifest = read_json_object(file)
            space = Space.from_json(manifest["space"], where=str(file))
            blocks = [_checked_block(block) for block in manifest["blocks"]]
            found = (manifest["format"], manifest["version"], manifest["dtype"], space.id)
        expected = ("leafkit-vectors", VERSION, self.dtype.name, self.space.id)
        if found != expected:
            raise DamageError(
                f"{file} has format, version, dtype and space {found}; expected {expected}. "
                f"Delete {self.path} or use another cache."
            )
        return blocks

    @contextlib.contextmanager
    def _write_lock(self) -> Iterator[None]:
        """Hold the lock for writing, with the current blocks loaded and uncommitted bytes removed."""
        warning = f"waiting: another process is writing teacher vectors to {self.path}"
        with exclusive_lock(self.path / "lock", warning=warning):
            self._load()  # the other process may have added blocks
            self._truncate()
            yield

    def _truncate(self) -> None:
        """Remove the bytes that a killed or failed run wrote after the last committed block."""
        for file, width in ((self._keys_file, KEY_BYTES), (self._vectors_file, self._row_bytes)):
            with explain_disk_errors(file), open(file, "ab") as opened:
                opened.truncate(len(self) * width)


def _checked_block(block: dict[str, Any]) -> dict[str, Any]:
    if type(block["rows"]) is not int or not 1 <= block["rows"] < 1 << 40:
        raise ValueError(f"a block has {block['rows']!r} rows")
    return {name: block[name] for name in ("rows", "sha256_keys", "sha256_vectors")}
