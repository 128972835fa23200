"""leafkit.export: a student folder to ONNX files, written only once they are proven."""

from __future__ import annotations

import logging
import shutil
from os import PathLike
from pathlib import Path
from typing import Any

import numpy

from leafkit.atomic import new_folder, write_json
from leafkit.digest import sha256_file
from leafkit.errors import MissingExtraError
from leafkit.onnx.golden import GOLDEN, judge
from leafkit.query import FILES, RECORD, QueryEncoder
from leafkit.students.folder import open_student, read_student
from leafkit.types import Encoder, Float32

log = logging.getLogger("leafkit")


def export(
    student: str | PathLike[str],
    *,
    out: str | PathLike[str] | None = None,
    int8: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write the student as ONNX, float32 and int8, and return the folder of the files.

    out: a folder to write, with all that a query host needs  [default: ``onnx`` in the student folder].
    int8: write the int8 file as well; it is a quarter of the size and about twice as fast.
    overwrite: replace an export that is there.

    Pooling, head and normalisation are inside the graph. Golden texts with their vectors travel along, to be
    checked on the machine that opens the files. Raises `ExportError` unless cosines and nearest neighbours agree
    with the student; then nothing is written.
    """
    folder = Path(student)
    read_student(folder)
    if out is None:
        with new_folder(folder / "onnx", marker=RECORD, overwrite=overwrite) as made:
            _fill(folder, made, int8=int8)
        return folder / "onnx"
    with new_folder(Path(out), marker="leafkit.json", overwrite=overwrite) as made:
        (made / "onnx").mkdir()
        _fill(folder, made / "onnx", int8=int8)
        for name in ("leafkit.json", "tokenizer.json", "config.json"):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, made / name)
    return Path(out)


def _fill(student: Path, folder: Path, *, int8: bool) -> None:
    """Write export and record to ``folder``; raises `ExportError` for files that do not agree."""
    try:
        from leafkit.onnx.graph import is_static, write_float, write_int8
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    encoder = open_student(student, device="cpu")
    wanted = golden_vectors(encoder)
    precisions = ["float32", "int8"] if int8 else ["float32"]
    write_float(encoder.model, folder / FILES["float32"])
    if int8:
        write_int8(folder / FILES["float32"], folder / FILES["int8"])
    record: dict[str, Any] = {
        "format": "leafkit-export",
        "version": 1,
        # A table has no positions and reads texts whole.
        "max_length": None if is_static(encoder.model) else int(encoder.model.max_seq_length),
        "files": {FILES[name]: sha256_file(folder / FILES[name]) for name in precisions},
        "agreement": {},
        "golden": [{"text": text, "role": role} for text, role in GOLDEN],
    }
    write_json(folder / RECORD, {**record, "golden": []})
    for name in precisions:
        got = golden_vectors(_opened(student, folder, name))
        record["agreement"][name] = judge(name, wanted, got)
        for golden, vector in zip(record["golden"], got, strict=True):
            golden[name] = [round(float(x), 6) for x in vector]
        log.info("%s agrees with the student: mean cosine %.4f", FILES[name], record["agreement"][name]["mean_cosine"])
    write_json(folder / RECORD, record)


def _opened(student: Path, folder: Path, precision: str) -> QueryEncoder:
    """A query encoder over files that are not in their place yet."""
    view = folder / "view"
    view.mkdir()
    try:
        for name in ("leafkit.json", "tokenizer.json"):
            (view / name).symlink_to((student / name).resolve())
        (view / "onnx").symlink_to(folder.resolve())
        return QueryEncoder.open(view, precision=precision)  # type: ignore[arg-type]
    finally:
        shutil.rmtree(view)


def golden_vectors(encoder: Encoder) -> Float32:
    """The vectors of the golden texts, each in its role, shape (texts, dim)."""
    return numpy.concatenate([encoder.encode([text], role) for text, role in GOLDEN])
