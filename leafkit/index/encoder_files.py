"""The query encoder inside a package: a copy of those files of a student that a search host needs."""

from __future__ import annotations

import shutil
from pathlib import Path

from leafkit.errors import InputError
from leafkit.search.query_encoder import FILES, MARKER, RECORD, TOKENIZER, ExportRecord, Precision


def copy_query_encoder(student: Path, to: Path, *, precision: Precision = "auto") -> None:
    """Copy those files of an exported student that a search host needs into the new folder ``to``.

    precision: int8, float32, or auto: int8 if the student was exported in int8.

    Raises `InputError` for a student without such an export, and `DamageError` for files that are missing or changed.
    """
    record = ExportRecord.read(student)
    precisions = record.precisions[:1] if precision == "auto" else [precision]
    if not set(precisions) & set(record.precisions):
        raise InputError(f"{student} was exported without {precision}. Run: leafkit export {student} --overwrite")
    (to / "onnx").mkdir(parents=True)
    for name in (TOKENIZER, *(FILES[precision] for precision in precisions)):
        shutil.copyfile(record.check(student, name), to / name)
    for name in (MARKER, RECORD):
        shutil.copyfile(student / name, to / name)


def encoder_file_names(package: Path, encoder: Path) -> list[str]:
    """Return the paths of the files in the folder ``encoder``, relative to ``package``, sorted."""
    return sorted(str(path.relative_to(package)) for path in encoder.rglob("*") if path.is_file())
