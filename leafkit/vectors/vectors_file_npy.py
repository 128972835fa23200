"""Vectors files as .npy (the vectors) with a .jsonl of the same name (the texts) and, if leafkit's, a .space.json."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy
from numpy.lib import format as npy
from numpy.typing import NDArray

from leafkit.errors import InputError, VectorError
from leafkit.files.atomic import atomic_file, write_file
from leafkit.texts.read import read_texts
from leafkit.types import Float32, Role
from leafkit.vectors.vectors_file_types import BATCH, PairBatch, SpaceLabel, VectorsFile, WriteRows


def read(path: Path) -> VectorsFile:
    """The pair of files at ``path``; raises `VectorError` unless each row of the one has a row of the other."""
    texts = path.with_suffix(".jsonl")
    if not texts.is_file():
        raise InputError(f"{path} has no {texts.name} beside it, which holds the texts of its rows")
    vectors = _open(path)
    return VectorsFile(
        label=read_label(path), rows=len(vectors), batches=_batches(vectors, path, texts), parts=(path, texts)
    )


def files(path: Path) -> list[Path]:
    """The files that a vectors file at ``path`` consists of."""
    return [path, path.with_suffix(".jsonl"), path.with_suffix(".space.json")]


def read_label(path: Path) -> SpaceLabel | None:
    """The label of the file at ``path``; None if leafkit did not write it."""
    label = path.with_suffix(".space.json")
    return SpaceLabel.from_json(label.read_bytes(), where=str(label)) if label.is_file() else None


@contextlib.contextmanager
def writing(path: Path, label: SpaceLabel, dtype: numpy.dtype) -> Iterator[WriteRows]:
    """See `vectors_file_writer`. The .npy comes last: while it is absent, so is the vectors file."""
    rows = 0
    with atomic_file(path) as vectors_file:
        header = _write_header(vectors_file, 0, label.space.dim, dtype)
        with atomic_file(path.with_suffix(".jsonl")) as texts_file:

            def write(ids: Sequence[str], texts: Sequence[str], roles: Sequence[Role], vectors: Float32) -> None:
                nonlocal rows
                for id_, text, role in zip(ids, texts, roles, strict=True):
                    line = json.dumps({"id": id_, "text": text, "role": role}, ensure_ascii=False)
                    texts_file.write(line.encode() + b"\n")
                vectors_file.write(vectors.astype(dtype, copy=False).tobytes())
                rows += len(vectors)

            yield write
            path.unlink(missing_ok=True)
            write_file(path.with_suffix(".space.json"), label.to_json() + "\n")
        vectors_file.seek(0)
        if _write_header(vectors_file, rows, label.space.dim, dtype) != header:
            raise VectorError(f"{path}: {rows} rows are more than an .npy header has room for; write .parquet")


def _write_header(file: BinaryIO, rows: int, dim: int, dtype: numpy.dtype) -> int:
    """Write the header and return its length, which numpy keeps the same however many the rows."""
    fields = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows, dim)}
    npy.write_array_header_1_0(file, fields)
    return file.tell()


def _open(path: Path) -> NDArray[Any]:
    try:
        vectors = numpy.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a header is parsed as Python text, which fails in many ways
        raise VectorError(f"{path} is not a plain .npy array, or a truncated one ({error})") from error
    if vectors.ndim != 2 or not len(vectors) or vectors.dtype.kind != "f":
        raise VectorError(f"{path} holds {vectors.dtype} of shape {vectors.shape}, wanted floats of (rows, width)")
    return vectors if vectors.dtype.itemsize <= 4 else vectors.astype(numpy.float32)


def _batches(vectors: NDArray[Any], path: Path, texts: Path) -> Iterator[PairBatch]:
    rows = [(row.full_text, row.role) for row in read_texts(texts)]
    if len(rows) != len(vectors):
        raise VectorError(f"{path} has {len(vectors)} vectors for the {len(rows)} texts of {texts.name}")
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        yield PairBatch(
            path=path,
            first=start,
            texts=[text for text, _ in part],
            roles=[role for _, role in part],
            vectors=vectors[start : start + BATCH],
        )
