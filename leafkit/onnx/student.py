"""`leafkit.export`: write a student's folder as ONNX files, but only after proving that they agree with it."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from leafkit.extras import explain_missing_extras
from leafkit.files.atomic import atomic_folder, write_json
from leafkit.files.digest import sha256_file
from leafkit.files.lock import folder_lock
from leafkit.files.options import OverwriteOptions
from leafkit.onnx.options import ExportOptions
from leafkit.options import options_of, takes
from leafkit.search.query_encoder import FILES, FORMAT, RECORD, TOKENIZER, VERSION, Precision, QueryEncoder, digest
from leafkit.students.card import copy_card
from leafkit.students.contents import MARKER
from leafkit.students.encoder import StudentEncoder, open_student
from leafkit.students.folder import VERSION as VERSION_OF_STUDENTS
from leafkit.students.folder import StudentFacts, copy_student, read_student, write_facts, write_student
from leafkit.students.golden import compare_export, golden_vectors
from leafkit.types import Float32
from leafkit.vectors.golden_texts import GOLDEN

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
    out: the folder to write; ``onnx`` inside the student's folder if None. The folder in ``out`` is complete: torch
        weights, both ONNX files, model card and hashes, for every runtime. The torch weights of a student that has
        only ONNX files are read back from them.

    Pooling, head and normalisation are part of the graph. The golden texts and their vectors are written as well, and
    every machine that opens the files checks them. Raises `ExportError` unless cosines and nearest neighbours agree
    with the student; nothing is written then.
    """
    facts = read_student(student)
    asked, overwrite = options_of(ExportOptions, options), options_of(OverwriteOptions, options).overwrite
    if out is None:
        # Held against a training that replaces the student meanwhile.
        busy = f"another process is writing {facts.path}. Run this command again when that process has finished."
        with folder_lock(facts.path, error=busy):
            return export_inside(facts.path, int8=asked.int8, overwrite=overwrite)
    with atomic_folder(Path(out), marker=MARKER, overwrite=overwrite) as made:
        encoder = _copy_whole(facts, made)
        (made / "onnx").mkdir()
        int8 = facts.path / FILES["int8"]
        kept = int8 if facts.runtime_only and int8.is_file() else None
        _write_export(encoder, made, made / "onnx", int8=asked.int8, kept=kept)
        copy_card(facts.path, made, licence=asked.licence)
    return Path(out)


def export_inside(folder: Path, *, int8: bool = True, overwrite: bool = False) -> Path:
    """Write the ONNX files of the student in ``folder``, which this process has locked, and return their folder."""
    with atomic_folder(folder / "onnx", marker=Path(RECORD).name, overwrite=overwrite) as made:
        _write_export(open_student(folder, device="cpu"), folder, made, int8=int8)
    return folder / "onnx"


def _copy_whole(facts: StudentFacts, folder: Path) -> StudentEncoder:
    """Fill ``folder`` with all files of a student but its ONNX files, and open the student."""
    if facts.runtime_only:
        with explain_missing_extras():
            from leafkit.onnx.restore import restore_into
        encoder = restore_into(facts.path, folder)
        training = facts.training | {"restored": "the weights were read back from the ONNX file"}
        write_facts(folder, space=facts.space, head_width=facts.head_width, training=training, prompts=facts.prompts)
        return encoder
    encoder = open_student(facts.path, device="cpu")
    copy_student(facts.path, folder)
    if facts.version < VERSION_OF_STUDENTS:
        write_student(folder, encoder.student, facts.space, facts.training)
    return encoder


def _write_export(encoder: StudentEncoder, folder: Path, out: Path, *, int8: bool, kept: Path | None = None) -> None:
    """Write graphs and record of the student ``encoder``, whose files are in ``folder``, to ``out``.

    ``kept`` is an int8 file to keep instead of quantising again. Raises `ExportError` if a graph disagrees.
    """
    with explain_missing_extras():
        from leafkit.onnx.graph import copy_graph, write_float
        from leafkit.onnx.int8 import write_int8
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
            if kept is not None:
                copy_graph(kept, view / FILES["int8"])
            else:
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
