"""Vectors files in NumPy format: X.npy with the vectors and X.jsonl with the texts.

A file that leafkit wrote has a third part, X.space.json, which records the space.
"""

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
from leafkit.files.arrays import read_array
from leafkit.files.atomic import atomic_file, write_file
from leafkit.files.json_file import explain_invalid, read_bytes
from leafkit.texts.read import read_texts
from leafkit.texts.record import Text
from leafkit.types import Float32, Role
from leafkit.vectors.vectors_file_types import (
    BATCH,
    PairBatch,
    ReadTexts,
    SpaceLabel,
    VectorsFile,
    WriteRows,
    kept_payload,
)


def read(path: Path) -> VectorsFile:
    """Open the vectors file at ``path``; raise `VectorError` unless there are as many vectors as texts."""
    texts = path.with_suffix(".jsonl")
    if not texts.is_file():
        raise InputError(f"{path} has no texts: the file {texts} is missing. Write one JSON object per vector.")
    vectors = _open(path)
    return VectorsFile(
        label=read_label(path), rows=len(vectors), batches=_batches(vectors, path, texts), parts=(path, texts)
    )


def files(path: Path) -> list[Path]:
    """Return the three files of the vectors file at ``path``."""
    return [path, path.with_suffix(".jsonl"), path.with_suffix(".space.json")]


def read_label(path: Path) -> SpaceLabel | None:
    """Return the label of the file at ``path``, or None if leafkit did not write the file."""
    label = path.with_suffix(".space.json")
    if not label.is_file():
        return None
    with explain_invalid(label, expected="the space of a vectors file", advice="Write the file again."):
        return SpaceLabel.from_json(read_bytes(label), where=str(label))


@contextlib.contextmanager
def writer(path: Path, label: SpaceLabel, dtype: numpy.dtype, texts: ReadTexts) -> Iterator[WriteRows]:
    """See `vectors_file_writer`. The .npy file is renamed into place last: without it there is no vectors file."""
    rows = 0
    with atomic_file(path) as vectors_file:
        header = _write_header(vectors_file, 0, label.space.dim, dtype)
        with atomic_file(path.with_suffix(".jsonl")) as texts_file:

            def write(texts: Sequence[Text], roles: Sequence[Role], vectors: Float32) -> None:
                nonlocal rows
                for text, role in zip(texts, roles, strict=True):
                    title = {"title": text.title} if text.title else {}
                    row = {"id": text.id, **title, "text": text.text, "role": role, **kept_payload(text)}
                    texts_file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                vectors_file.write(vectors.astype(dtype, copy=False).tobytes())
                rows += len(vectors)

            yield write
            path.unlink(missing_ok=True)
            write_file(path.with_suffix(".space.json"), label.to_json() + "\n")
        vectors_file.seek(0)
        if _write_header(vectors_file, rows, label.space.dim, dtype) != header:
            raise VectorError(f"{path}: the header of a .npy file has no room for {rows} rows. Write .parquet instead.")


def _write_header(file: BinaryIO, rows: int, dim: int, dtype: numpy.dtype) -> int:
    """Write the header and return its length, which does not depend on ``rows`` because numpy pads it."""
    fields = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows, dim)}
    npy.write_array_header_1_0(file, fields)
    return file.tell()


def _open(path: Path) -> NDArray[Any]:
    advice = "The file may be truncated. Write it again."
    with explain_invalid(path, expected="a .npy array", advice=advice, error_type=VectorError):
        vectors = read_array(path, memory_map=True)
    if vectors.ndim != 2 or not len(vectors) or vectors.dtype.kind != "f":
        raise VectorError(
            f"{path} holds {vectors.dtype} of shape {vectors.shape}; expected floats of shape (rows, width)."
        )
    return vectors if vectors.dtype.itemsize <= 4 else vectors.astype(numpy.float32)


def _batches(vectors: NDArray[Any], path: Path, texts: Path) -> Iterator[PairBatch]:
    rows: list[tuple[str, Role | None]] = [(row.full_text, row.role) for row in read_texts(texts)]
    if len(rows) != len(vectors):
        raise VectorError(
            f"{path} has {len(vectors)} vectors, but {texts.name} has {len(rows)} texts; expected one per vector."
        )
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        yield PairBatch(
            path=path,
            first=start,
            texts=[text for text, _ in part],
            roles=[role for _, role in part],
            vectors=vectors[start : start + BATCH],
        )
