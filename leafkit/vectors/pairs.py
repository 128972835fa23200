"""Vectors files: (text, vector) pairs as Parquet (or a folder of it), or as .npy with a .jsonl of the same name.

What `leafkit embed` writes carries the label of its space: in the Parquet schema, or in a .space.json beside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.atomic import disk_errors
from leafkit.errors import DamageError, InputError, OutputError
from leafkit.space import Space
from leafkit.texts.parquet import parquet_files, parquet_parts
from leafkit.types import Float32, Role

SUFFIXES = (".parquet", ".npy")
BATCH = 65536  # rows read at a time


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Some rows of a vectors file, from the row ``first`` of ``path`` on; a row without a role serves both."""

    path: Path
    first: int
    texts: Sequence[str]
    roles: Sequence[Role | None]
    vectors: NDArray[Any]  # (rows, dim), float16 or float32


@dataclass(frozen=True, kw_only=True)
class Label:
    """The space that the vectors of a file live in; ``stand_in`` where a student made them."""

    space: Space
    stand_in: bool = False

    def to_json(self) -> str:
        """The label as the file carries it; `from_json` reads it back."""
        return json.dumps({**self.space.to_json(), "stand_in": self.stand_in}, ensure_ascii=False)

    @classmethod
    def from_json(cls, content: bytes, where: str) -> Label:
        """The label in ``content``; raises `DamageError` naming ``where`` if it is none."""
        try:
            fields = json.loads(content)
        except ValueError as error:
            raise DamageError(f"{where}: its space is not JSON ({error}); write the file again") from error
        if not isinstance(fields, dict):
            raise DamageError(f"{where}: its space is not an object; write the file again")
        return cls(space=Space.from_json(fields, where=where), stand_in=fields.get("stand_in") is True)


@dataclass(frozen=True, kw_only=True)
class PairsFile:
    """A vectors file that is open for reading, ``rows`` rows in batches; ``parts`` holds its content.

    Each file has one width; those of a folder may differ.
    """

    label: Label | None
    rows: int
    batches: Iterator[Pairs]
    parts: tuple[Path, ...]


# Takes ids, texts, roles and vectors of some rows.
Write = Callable[[Sequence[str], Sequence[str], Sequence[Role], Float32], None]


def is_pairs(path: Path) -> bool:
    """Whether ``path`` is a vectors file by its name, or a folder of Parquet files, which are the parts of one."""
    return bool(parquet_files(path)) if path.is_dir() else path.suffix in SUFFIXES


def read_pairs(path: Path) -> PairsFile:
    """The vectors file at ``path``; raises `InputError` (or `VectorError`, naming the row) if it cannot be used."""
    if not path.is_dir():
        return _format(path).read(path)
    parts = tuple(parquet_parts(path))
    label, rows = None, 0
    for part in parts:
        # One file is open at a time: there may be more than a process may open.
        file = read_pairs(part)
        if part != parts[0] and file.label != label:
            raise InputError(
                f"{part} is of another space than {parts[0]}, or one of them is a student's; keep the vectors of one "
                "model in a folder"
            )
        label, rows = file.label, rows + file.rows
    batches = (batch for part in parts for batch in read_pairs(part).batches)
    return PairsFile(label=label, rows=rows, batches=batches, parts=parts)


def new_pairs(path: Path, label: Label, *, precision: str) -> AbstractContextManager[Write]:
    """A function that writes rows in ``precision``; the file at ``path`` appears when the block ends well."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return _format(path).writing(path, label, numpy.dtype(precision))


def check_new(path: Path, *, overwrite: bool) -> None:
    """Raise `OutputError` unless a vectors file may be written to ``path``; costly work asks this first."""
    found = _format(path)
    foreign = [file for file in found.files(path) if file.exists() and found.read_label(path) is None]
    if foreign:
        raise OutputError(f"{foreign[0]} exists and is not leafkit's (no space with it); choose another output")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} already exists; choose another output or add --overwrite to replace it")


def _format(path: Path) -> Any:
    if path.suffix == ".parquet":
        from leafkit.vectors import pairs_parquet

        return pairs_parquet
    if path.suffix == ".npy":
        from leafkit.vectors import pairs_npy

        return pairs_npy
    raise InputError(f"{path}: a vectors file is a .parquet, or a .npy with a .jsonl of the same name")
