"""`leafkit.export`: write a student's folder as ONNX files, but only after proving that they agree with it."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy

from leafkit.extras import explain_missing_extras
from leafkit.files.atomic import atomic_folder, write_json
from leafkit.files.digest import sha256_file
from leafkit.files.lock import folder_lock
from leafkit.files.options import OverwriteOptions
from leafkit.onnx.options import ExportOptions
from leafkit.options import options_of, takes
from leafkit.search.query_encoder import FILES, FORMAT, RECORD, TOKENIZER, VERSION, Precision, QueryEncoder, digest
from leafkit.students.encoder import open_student
from leafkit.students.folder import MARKER, read_student
from leafkit.students.golden import compare_export
from leafkit.students.query_moment import FILE as MOMENT
from leafkit.types import Encoder, Float32
from leafkit.vectors.golden_texts import GOLDEN
from leafkit.vectors.mapping import MAPPING_FILE

logger = logging.getLogger("leafkit")


@takes(ExportOptions, OverwriteOptions)
def export(
    student: str | PathLike[str],
    *,
    out: str | PathLike[str] | None = None,
    **options: Any,
) -> Path:
    """Write a student as ONNX, in float32 and int8, and return the folder that holds the files.

    student: the student's folder, or the name of one that ships.
    out: the folder to write, with everything that a search host and an index need; ``onnx`` inside the student's folder
        if None.

    Pooling, head and normalisation are part of the graph. The golden texts and their vectors are written as well, and
    every machine that opens the files checks them. Raises `ExportError` unless cosines and nearest neighbours agree
    with the student; nothing is written then.
    """
    folder = read_student(student).path
    int8, overwrite = options_of(ExportOptions, options).int8, options_of(OverwriteOptions, options).overwrite
    if out is None:
        # Held against a training that replaces the student meanwhile.
        busy = f"another process is writing {folder}. Run this command again when that process has finished."
        with folder_lock(folder, error=busy):
            return export_inside(folder, int8=int8, overwrite=overwrite)
    with atomic_folder(Path(out), marker=MARKER, overwrite=overwrite) as made:
        (made / "onnx").mkdir()
        _write_export(folder, made / "onnx", int8=int8)
        copy_description(folder, made)
    return Path(out)


def export_inside(folder: Path, *, int8: bool = True, overwrite: bool = False) -> Path:
    """Write the ONNX files of the student in ``folder``, which this process has locked, and return their folder."""
    with atomic_folder(folder / "onnx", marker=Path(RECORD).name, overwrite=overwrite) as made:
        _write_export(folder, made, int8=int8)
    return folder / "onnx"


def copy_description(student: Path, folder: Path) -> None:
    """Copy the small files of ``student`` to ``folder``: how its modules are built, its space and its query moment.

    With them the student can be trained further. fastembed and transformers.js read some of them, while
    text-embeddings-inference needs the student's folder itself.
    """
    described = [file for pattern in ("*.json", "[0-9]*_*/*.json") for file in student.glob(pattern)]
    for file in (*described, student / MAPPING_FILE, student / MOMENT):
        if file.is_file():
            copy = folder / file.relative_to(student)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, copy)


def golden_vectors(encoder: Encoder) -> Float32:
    """Return the vectors of the golden texts, each in its role, shape (texts, dim)."""
    return numpy.concatenate([encoder.encode([text], role) for text, role in GOLDEN])


def _write_export(folder: Path, out: Path, *, int8: bool) -> None:
    """Write graphs and record of the student in ``folder`` to ``out``; raise `ExportError` if a graph disagrees."""
    with explain_missing_extras():
        from leafkit.onnx.graph import write_float
        from leafkit.onnx.int8 import write_int8
    encoder = open_student(folder, device="cpu")
    expected = golden_vectors(encoder)
    record: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "space": encoder.space.id,
        "max_length": encoder.student.token_limit,
        "files": {TOKENIZER: sha256_file(folder / TOKENIZER)},
        "agreement": {},
        "golden": [{"text": text, "role": role} for text, role in GOLDEN],
    }
    with _as_finished_folder(folder, out) as view:
        write_float(encoder.student, view / FILES["float32"])
        exported = _prove(view, record, "float32", expected)
        if int8:
            feeds = [exported.tokens(text, role) for text, role in GOLDEN]
            write_int8(view / FILES["float32"], view / FILES["int8"], feeds)
            _prove(view, record, "int8", expected)
        write_json(view / RECORD, record)


def _prove(view: Path, record: dict[str, Any], precision: Precision, expected: Float32) -> QueryEncoder:
    """Open a new file as a search host does, compare its vectors, and add file and vectors to ``record``."""
    file = FILES[precision]
    record["files"][file] = sha256_file(view / file)
    record["sha256"] = digest(record)
    write_json(view / RECORD, {**record, "golden": []})
    exported = QueryEncoder.open(view, precision=precision)
    got = golden_vectors(exported)
    figures = compare_export(precision, expected, got)
    record["agreement"][precision] = figures
    for golden, vector in zip(record["golden"], got, strict=True):
        golden[precision] = [round(float(x), 6) for x in vector]
    logger.info("%s agrees with the student: mean cosine %.4f", file, figures["mean_cosine"])
    return exported


@contextlib.contextmanager
def _as_finished_folder(student: Path, onnx: Path) -> Iterator[Path]:
    """Give a folder of links that looks like the student's folder with ``onnx`` already in place."""
    with tempfile.TemporaryDirectory() as view:
        for name in (MARKER, TOKENIZER):
            (Path(view) / name).symlink_to((student / name).resolve())
        (Path(view) / "onnx").symlink_to(onnx.resolve())
        yield Path(view)
