"""leafkit.export: a student folder to ONNX files, written only once they are proven."""

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
from leafkit.files.options import OverwriteOptions
from leafkit.onnx.options import ExportOptions
from leafkit.options import options_of, takes
from leafkit.search.query_encoder import FILES, FORMAT, RECORD, TOKENIZER, VERSION, QueryEncoder, digest
from leafkit.students.folder import MARKER, open_student, read_student
from leafkit.students.golden import GOLDEN, judge
from leafkit.students.moment import FILE as MOMENT
from leafkit.types import Encoder, Float32
from leafkit.vectors.mapping import MAPPING_FILE

log = logging.getLogger("leafkit")


@takes(ExportOptions, OverwriteOptions)
def export(student: str | PathLike[str], *, out: str | PathLike[str] | None = None, **options: Any) -> Path:
    """Write the student as ONNX, float32 and int8, and return the folder of the files.

    out: a folder to write, with all that a query host and an index need  [default: ``onnx`` in the student folder].

    Pooling, head and normalisation are inside the graph. Golden texts with their vectors travel along, to be
    checked on the machine that opens the files. Raises `ExportError` unless cosines and nearest neighbours agree
    with the student; then nothing is written.
    """
    int8 = options_of(ExportOptions, options).int8
    overwrite = options_of(OverwriteOptions, options).overwrite
    folder = read_student(student).path
    if out is None:
        with atomic_folder(folder / "onnx", marker=Path(RECORD).name, overwrite=overwrite) as made:
            _fill(folder, made, int8=int8)
        return folder / "onnx"
    with atomic_folder(Path(out), marker=MARKER, overwrite=overwrite) as made:
        (made / "onnx").mkdir()
        _fill(folder, made / "onnx", int8=int8)
        copy_description(folder, made)
    return Path(out)


def copy_description(student: Path, folder: Path) -> None:
    """Copy what lies beside the weights of ``student``: how it is built, for whoever reads or trains it on; its space.

    fastembed and transformers.js read some of it; text-embeddings-inference wants the student folder itself.
    """
    described = [file for pattern in ("*.json", "[0-9]*_*/*.json") for file in student.glob(pattern)]
    for file in (*described, student / MAPPING_FILE, student / MOMENT):
        if file.is_file():
            copy = folder / file.relative_to(student)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, copy)


def _fill(student: Path, folder: Path, *, int8: bool) -> None:
    """Write export and record to ``folder``; raises `ExportError` for files that do not agree."""
    with explain_missing_extras():
        from leafkit.onnx.graph import token_limit, write_float
        from leafkit.onnx.int8 import write_int8
    encoder = open_student(student, device="cpu")
    wanted = golden_vectors(encoder)
    record: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "space": encoder.space.id,
        "max_length": token_limit(encoder.model),
        "files": {TOKENIZER: sha256_file(student / TOKENIZER)},
        "agreement": {},
        "golden": [{"text": text, "role": role} for text, role in GOLDEN],
    }
    with _in_place(student, folder) as view:
        write_float(encoder.model, view / FILES["float32"])
        exported = _prove(view, record, "float32", wanted)
        if int8:
            feeds = [exported.tokens(text, role) for text, role in GOLDEN]
            write_int8(view / FILES["float32"], view / FILES["int8"], feeds)
            _prove(view, record, "int8", wanted)
        write_json(view / RECORD, record)


def _prove(view: Path, record: dict[str, Any], precision: str, wanted: Float32) -> QueryEncoder:
    """Open the new file as a query host would, judge its vectors, and add file and vectors to ``record``."""
    file = FILES[precision]
    record["files"][file] = sha256_file(view / file)
    record["sha256"] = digest(record)
    write_json(view / RECORD, {**record, "golden": []})
    exported = QueryEncoder.open(view, precision=precision)  # type: ignore[arg-type]
    got = golden_vectors(exported)
    figures = judge(precision, wanted, got)
    record["agreement"][precision] = figures
    for golden, vector in zip(record["golden"], got, strict=True):
        golden[precision] = [round(float(x), 6) for x in vector]
    log.info("%s agrees with the student: mean cosine %.4f", file, figures["mean_cosine"])
    return exported


@contextlib.contextmanager
def _in_place(student: Path, folder: Path) -> Iterator[Path]:
    """The student's folder as it will be once ``folder`` is its ``onnx``."""
    with tempfile.TemporaryDirectory() as view:
        for name in (MARKER, TOKENIZER):
            (Path(view) / name).symlink_to((student / name).resolve())
        (Path(view) / "onnx").symlink_to(folder.resolve())
        yield Path(view)


def golden_vectors(encoder: Encoder) -> Float32:
    """The vectors of the golden texts, each in its role, shape (texts, dim)."""
    return numpy.concatenate([encoder.encode([text], role) for text, role in GOLDEN])
