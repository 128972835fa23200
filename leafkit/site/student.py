"""The student of a site: its files, and what the page has to know to run it as Python does."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.errors import OptionError
from leafkit.files.json_file import parse_json_object
from leafkit.search.manifest_fields import TEACHER
from leafkit.search.query_encoder import FILES, TOKENIZER, ExportRecord, QueryEncoder
from leafkit.search.searcher import Searcher
from leafkit.shipped import resolve_student
from leafkit.site.token_table import TokenTable

FOLDER = "student"


@dataclass(frozen=True)
class SiteStudent:
    """The student of a site: its name, the folder of its files, and the encoder opened from there."""

    name: str
    folder: Path
    encoder: QueryEncoder


def open_student(index: Path, encoder: str | Path | None, effort: str | None) -> SiteStudent:
    """Open the student ``encoder``, or the one of ``effort`` inside the index (None: the best one).

    Verifies every file of the index. Raises the errors of `Searcher.open`, and `OptionError` if the index has no such
    student or is rotated and ``encoder`` is not.
    """
    if effort == TEACHER:
        raise OptionError(
            "effort is 'teacher', but a site runs a student. Choose another one; leafkit info names them."
        )
    searcher = Searcher.open(index, encoder=encoder)
    opened = searcher.encoder if effort is None else searcher.encoder_of(effort)
    if not isinstance(opened, QueryEncoder):
        raise OptionError(
            f"the index {index} is rotated, and {encoder} writes vectors that are not. Build the index with this "
            "student inside: leafkit index --student"
        )
    if encoder is not None:
        folder = resolve_student(encoder)
        return SiteStudent(folder.resolve().name, folder, opened)
    rung = next(rung for rung in reversed(searcher.rungs) if effort in (None, rung.effort))
    return SiteStudent(rung.student, index / rung.folder, opened)


def write_student(student: SiteStudent, folder: Path) -> dict[str, Any]:
    """Copy ``student`` into the site ``folder``; returns its facts.

    A token table is written as plain numbers, any other student as the ONNX file that its encoder uses. Raises
    `DamageError` for a file that was changed.
    """
    source, encoder = student.folder, student.encoder
    record = ExportRecord.read(source)
    (folder / FOLDER).mkdir()
    tokenizer = folder / FOLDER / TOKENIZER
    shutil.copyfile(record.check(source, TOKENIZER), tokenizer)
    facts = {
        "name": student.name,
        "prompt": encoder.prompts["query"],
        "limit": record.max_length,
        "side": _truncated_side(tokenizer),
    }
    graph = record.check(source, FILES[encoder.precision])
    table = TokenTable.read(source, graph)
    if table is None:
        shutil.copyfile(graph, folder / FOLDER / "model.onnx")
        return {"kind": "onnx", "model": f"{FOLDER}/model.onnx", **facts}
    table.save(folder / FOLDER / "table.bin")
    return {"kind": "table", "model": f"{FOLDER}/table.bin", **facts, **table.facts}


def _truncated_side(tokenizer: Path) -> str:
    """Return the side on which long texts lose tokens, left or right."""
    content = parse_json_object(tokenizer.read_bytes())
    return str((content.get("truncation") or {}).get("direction", "Right")).lower()
