"""The teacher's vectors on disk: append-only, resumable, verified, each text encoded once in its space.

A store is a folder ``<space id>-<dtype>`` with three files: ``keys.bin`` (16 bytes a text), ``vectors.bin``
(one row a text) and ``manifest.json``, which names the space and lists the committed blocks with their
checksums. A block counts once the manifest names it; what a killed run left behind it is cut off by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy

from leafkit.errors import DamageError, OptionError, VectorError
from leafkit.files.atomic import explain_disk_errors, write_json
from leafkit.files.progress import progress
from leafkit.space import Space, require_same
from leafkit.texts.batches import length_batches
from leafkit.types import Encoder, Float32, Int64, Role
from leafkit.vectors.check import check_vectors
from leafkit.vectors.cosine import unit_rows
from leafkit.vectors.encode import encode_by_role
from leafkit.vectors.keys import KEY_BYTES, KeyIndex, expand_roles, first_occurrences, text_keys

BLOCK = 4096  # texts a block: what a kill can cost, and the pool in which batches are sorted by length
PIECE = 2**18  # characters encoded between two steps of the progress bar: a minute of a large model on one core
DTYPES = ("float16", "float32")
VERSION = 1

log = logging.getLogger("leafkit")


def default_cache() -> Path:
    """Where teacher vectors live unless told: ``$LEAFKIT_CACHE``, else ``~/.cache/leafkit``."""
    return Path(os.environ.get("LEAFKIT_CACHE") or Path.home() / ".cache" / "leafkit")


def is_exact(encoder: Encoder) -> bool:
    """Whether the vectors are those that define the space; a student's (``approximate``) only come near them."""
    return not getattr(encoder, "approximate", False)


def check_exact(encoder: Encoder) -> None:
    """Raise `OptionError` for a student, whose vectors must never be taken for its teacher's."""
    if not is_exact(encoder):
        raise OptionError("a student's vectors cannot be kept as its teacher's; open the teacher itself")


class VectorStore:
    """Vectors of one space in one precision. Any number may read; one writes at a time, others wait."""

    def __init__(self, path: Path, space: Space, dtype: str) -> None:
        """Use `VectorStore.open`."""
        self.path = path
        self.space = space
        self.dtype = numpy.dtype(dtype)
        self._blocks: list[dict[str, Any]] = []
        self._keys = KeyIndex.empty()
        self._map: numpy.memmap[Any, Any] | None = None
        self._load()

    @classmethod
    def open(cls, root: Path | None, space: Space, *, dtype: str = "float16") -> VectorStore:
        """The store of ``space`` below ``root`` (the user's cache if None), made if absent.

        Raises `DamageError` if its files are shorter than its manifest says or belong to another space.
        """
        if dtype not in DTYPES:
            raise OptionError(f"unknown vector precision {dtype!r}: teacher vectors are kept as float16 or float32")
        path = (root or default_cache()) / f"{space.id}-{dtype}"
        with explain_disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return cls(path, space, dtype)

    def __len__(self) -> int:
        return self._rows

    def rows(self, texts: Sequence[str], roles: Sequence[Role] | Role) -> Int64:
        """The row of each text in its role, -1 where the store lacks it."""
        return self._index().find(text_keys(texts, expand_roles(roles, len(texts))))

    def fill(
        self, teacher: Encoder, texts: Sequence[str], roles: Sequence[Role] | Role, *, label: str = "teacher"
    ) -> Int64:
        """The row of every text, after the teacher has encoded those that the store lacks, each distinct one once.

        Committed block by block: killed at any instant, the same call carries on, and the store ends byte-equal
        to an uninterrupted one. Raises `VectorError` for vectors that cannot be used, `OutputError` on a full disk.
        """
        check_exact(teacher)
        require_same(self.space, teacher.space, wanted_by=f"the store {self.path}", got_from="the teacher")
        roles = expand_roles(roles, len(texts))
        keys = text_keys(texts, roles)
        rows = self._index().find(keys)
        if (rows >= 0).all():
            return rows
        with self._writing():
            missing = numpy.flatnonzero(self._index().find(keys) < 0)
            missing = missing[first_occurrences(keys[missing])]
            with progress(label, total=len(missing), unit="texts") as bar:
                for start in range(0, len(missing), BLOCK):
                    block = missing[start : start + BLOCK]
                    vectors = self._encode(teacher, [texts[i] for i in block], [roles[i] for i in block], bar.update)
                    self._append(keys[block].tobytes(), vectors, len(block))
        return self._index().find(keys)

    def gather(self, rows: Int64) -> Float32:
        """The vectors at ``rows``, shape (len(rows), dim), float32; unit-norm where the space is.

        Raises `VectorError` for a row that the store does not have.
        """
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise VectorError(f"{self.path} holds {len(self)} vectors; asked for rows {rows.min()} to {rows.max()}")
        if not len(rows):
            return numpy.empty((0, self.space.dim), dtype=numpy.float32)
        if self._map is None:
            shape = (len(self), self.space.dim)
            self._map = numpy.memmap(self._vectors_file, dtype=self.dtype, mode="r", shape=shape)
        vectors = self._map[rows].astype(numpy.float32, copy=False)
        # float16 rounding moves a length by up to 5e-4: put back what the space promises
        return unit_rows(vectors) if self.space.normalised and self.dtype == numpy.float16 else vectors

    def verify(self) -> None:
        """Read every block against its checksum; raises `DamageError` naming the first that differs."""
        if not self._blocks:
            return  # nor are there files yet
        with open(self._keys_file, "rb") as keys, open(self._vectors_file, "rb") as vectors:
            for number, block in enumerate(self._blocks):
                for file, width, name in ((keys, KEY_BYTES, "keys"), (vectors, self._row_bytes, "vectors")):
                    content = file.read(block["rows"] * width)
                    if hashlib.sha256(content).hexdigest() != block[f"sha256_{name}"]:
                        raise DamageError(
                            f"{file.name}: block {number} is damaged (its checksum differs); "
                            f"delete {self.path} and run again to have the teacher encode its texts anew"
                        )

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
    def _row_bytes(self) -> int:
        return self.space.dim * self.dtype.itemsize

    def _encode(self, teacher: Encoder, texts: list[str], roles: list[Role], encoded: Callable[[int], object]) -> bytes:
        vectors = numpy.empty((len(texts), self.space.dim), dtype=numpy.float32)
        # Pieces of like length, so that encoders still make full batches of each.
        for piece in length_batches(numpy.fromiter(map(len, texts), dtype=numpy.int64), tokens=PIECE):
            its, their_roles = [texts[i] for i in piece], [roles[i] for i in piece]
            vectors[piece] = encode_by_role(teacher, its, their_roles, source="the teacher")
            encoded(len(piece))
        with numpy.errstate(over="ignore"):
            stored = vectors.astype(self.dtype)
        check_vectors(stored, rows=None, dim=None, source=f"the teacher's vectors as {self.dtype} (float32 holds more)")
        return stored.tobytes()

    def _append(self, keys: bytes, vectors: bytes, rows: int) -> None:
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
        self._remember(blocks)

    def _remember(self, blocks: list[dict[str, Any]]) -> None:
        if blocks[: len(self._blocks)] != self._blocks:
            self._keys = KeyIndex.empty()
        self._blocks = blocks
        self._rows = sum(block["rows"] for block in blocks)
        self._map = None

    def _index(self) -> KeyIndex:
        known = len(self._keys)
        if known < len(self):
            added = numpy.fromfile(
                self._keys_file, dtype=numpy.uint64, offset=known * KEY_BYTES, count=2 * (len(self) - known)
            )
            self._keys = self._keys.extended(added.reshape(-1, 2))
        return self._keys

    def _load(self) -> None:
        self._remember(self._read_blocks() if self._manifest_file.is_file() else [])
        for file, width in ((self._keys_file, KEY_BYTES), (self._vectors_file, self._row_bytes)):
            size = file.stat().st_size if file.is_file() else 0
            if size < len(self) * width:
                raise DamageError(
                    f"{file} is truncated: it holds {size} bytes, its manifest promises {len(self) * width}; "
                    f"delete {self.path} and run again to have the teacher encode its texts anew"
                )

    def _read_blocks(self) -> list[dict[str, Any]]:
        file = self._manifest_file
        try:
            manifest = json.loads(file.read_bytes())
            space = Space.from_json(manifest["space"], where=str(file))
            blocks = [_checked(block) for block in manifest["blocks"]]
            written = (manifest["format"], manifest["version"], manifest["dtype"], space.id)
        except (ValueError, KeyError, TypeError) as error:
            raise DamageError(f"{file} is not a manifest of teacher vectors ({error}); delete {self.path}") from error
        wanted = ("leafkit-vectors", VERSION, self.dtype.name, self.space.id)
        if written != wanted:
            raise DamageError(f"{file} describes {written}, wanted {wanted}; delete {self.path} or use another cache")
        return blocks

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with explain_disk_errors(self.path):
            lock = open(self.path / "lock", "ab")  # noqa: SIM115 - held below
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.warning("waiting: another process is writing teacher vectors to %s", self.path)
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._load()  # the writer we waited for may have added blocks
            self._cut()
            yield

    def _cut(self) -> None:
        """Remove what a killed or failed run left behind the last committed block."""
        for file, width in ((self._keys_file, KEY_BYTES), (self._vectors_file, self._row_bytes)):
            with explain_disk_errors(file), open(file, "ab") as opened:
                opened.truncate(len(self) * width)


def _checked(block: dict[str, Any]) -> dict[str, Any]:
    if type(block["rows"]) is not int or block["rows"] < 1:
        raise ValueError(f"a block of {block['rows']!r} rows")
    return {name: block[name] for name in ("rows", "sha256_keys", "sha256_vectors")}
