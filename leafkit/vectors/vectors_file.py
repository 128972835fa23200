"""Vectors files: (text, vector) pairs as Parquet (or a folder of it), or as .npy with a .jsonl of the same name.

What `leafkit embed` writes carries the label of its space: in the Parquet schema, or in a .space.json beside.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy

from leafkit.errors import InputError, OutputError
from leafkit.files.atomic import explain_disk_errors
from leafkit.texts.parquet import parquet_files, parquet_parts
from leafkit.vectors.vectors_file_types import SpaceLabel, VectorsFile, WriteRows

SUFFIXES = (".parquet", ".npy")


def is_vectors_file(path: Path) -> bool:
    """Whether ``path`` is a vectors file by its name, or a folder of Parquet files, which are the parts of one."""
    return bool(parquet_files(path)) if path.is_dir() else path.suffix in SUFFIXES


def open_vectors_file(path: Path) -> VectorsFile:
    """The vectors file at ``path``; raises `InputError` (or `VectorError`, naming the row) if it cannot be used."""
    if not path.is_dir():
        return _format(path).read(path)
    parts = tuple(parquet_parts(path))
    label, rows = None, 0
    for part in parts:
        # One file is open at a time: there may be more than a process may open.
        file = open_vectors_file(part)
        if part != parts[0] and file.label != label:
            raise InputError(
                f"{part} is of another space than {parts[0]}, or one of them is a student's; keep the vectors of one "
                "model in a folder"
            )
        label, rows = file.label, rows + file.rows
    batches = (batch for part in parts for batch in open_vectors_file(part).batches)
    return VectorsFile(label=label, rows=rows, batches=batches, parts=parts)


def vectors_file_writer(path: Path, label: SpaceLabel, *, precision: str) -> AbstractContextManager[WriteRows]:
    """A function that writes rows in ``precision``; the file at ``path`` appears when the block ends well."""
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return _format(path).writing(path, label, numpy.dtype(precision))


def check_vectors_output(path: Path, *, overwrite: bool) -> None:
    """Raise `OutputError` unless a vectors file may be written to ``path``; costly work asks this first."""
    found = _format(path)
    foreign = [file for file in found.files(path) if file.exists() and found.read_label(path) is None]
    if foreign:
        raise OutputError(f"{foreign[0]} exists and is not leafkit's (no space with it); choose another output")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} already exists; choose another output or add --overwrite to replace it")


def _format(path: Path) -> Any:
    if path.suffix == ".parquet":
        from leafkit.vectors import vectors_file_parquet

        return vectors_file_parquet
    if path.suffix == ".npy":
        from leafkit.vectors import vectors_file_npy

        return vectors_file_npy
    raise InputError(f"{path}: a vectors file is a .parquet, or a .npy with a .jsonl of the same name")
