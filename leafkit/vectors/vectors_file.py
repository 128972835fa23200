"""Vectors files hold (text, vector) pairs: Parquet, a folder of Parquet files, or .npy with a .jsonl of the same name.

A file that `leafkit embed` wrote also records the space of its vectors: in the Parquet schema, or in a .space.json file
next to the .npy file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import numpy

from leafkit.errors import InputError, OutputError
from leafkit.files.atomic import parent_folders
from leafkit.texts.parquet import parquet_files, parquet_parts
from leafkit.vectors.vectors_file_types import ReadTexts, SpaceLabel, VectorsFile, WriteRows

SUFFIXES = (".parquet", ".npy")


class _Format(Protocol):
    """What the modules vectors_file_parquet and vectors_file_npy provide."""

    def read(self, path: Path) -> VectorsFile: ...

    def files(self, path: Path) -> list[Path]: ...

    def read_label(self, path: Path) -> SpaceLabel | None: ...

    def writer(
        self, path: Path, label: SpaceLabel, dtype: numpy.dtype, texts: ReadTexts
    ) -> AbstractContextManager[WriteRows]: ...


def is_vectors_file(path: Path) -> bool:
    """Tell whether ``path`` has the suffix of a vectors file, or is a folder of Parquet files (the parts of one)."""
    return bool(parquet_files(path)) if path.is_dir() else path.suffix in SUFFIXES


def open_vectors_file(path: Path) -> VectorsFile:
    """Open the vectors file at ``path``.

    Raises `InputError` for a file of another kind and `VectorError`, naming the row, for vectors that cannot be used.
    """
    if not path.is_dir():
        return _format(path).read(path)
    parts = tuple(parquet_parts(path))
    label, rows = None, 0
    for part in parts:
        # Only one file is open at a time: a folder may hold more files than a process may open.
        file = open_vectors_file(part)
        if part != parts[0] and file.label != label:
            raise InputError(
                f"{part} and {parts[0]} hold vectors of different spaces, or of a teacher and a student. "
                "Keep the vectors of only one model in a folder."
            )
        label, rows = file.label, rows + file.rows
    batches = (batch for part in parts for batch in open_vectors_file(part).batches)
    return VectorsFile(label=label, rows=rows, batches=batches, parts=parts)


@contextmanager
def vectors_file_writer(path: Path, label: SpaceLabel, *, precision: str, texts: ReadTexts) -> Iterator[WriteRows]:
    """Give a function to write rows during the block; the file appears when the block ends.

    precision: ``float16`` or ``float32``.
    texts: reads the texts of all rows anew; a Parquet file must know their columns before the first row is written.

    Raises `OutputError` while another process writes to ``path``.
    """
    writer = _format(path).writer(path, label, numpy.dtype(precision), texts)
    with parent_folders(path), writer as write:
        yield write


def check_vectors_output(path: Path, *, overwrite: bool) -> None:
    """Raise `OutputError` unless a vectors file may be written to ``path``. Call this before expensive work."""
    format_ = _format(path)
    foreign = [file for file in format_.files(path) if file.exists() and format_.read_label(path) is None]
    if foreign:
        raise OutputError(
            f"{foreign[0]} already exists and was not written by leafkit (it records no space). "
            "Choose another output path."
        )
    if path.exists() and not overwrite:
        raise OutputError(f"{path} already exists. Choose another output path or add --overwrite to replace it.")


def _format(path: Path) -> _Format:
    if path.suffix == ".parquet":
        from leafkit.vectors import vectors_file_parquet

        return vectors_file_parquet
    if path.suffix == ".npy":
        from leafkit.vectors import vectors_file_npy

        return vectors_file_npy
    raise InputError(f"{path} is not a vectors file; expected a .parquet file, or a .npy file with a .jsonl file.")
