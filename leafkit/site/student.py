"""The student of a site: its files, and what the page has to know to run it as Python does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from leafkit.files.json_file import parse_json_object
from leafkit.search.query_encoder import FILES, TOKENIZER, ExportRecord, QueryEncoder
from leafkit.site.token_table import TokenTable

FOLDER = "student"


def write_student(encoder: QueryEncoder, source: Path, folder: Path) -> dict[str, Any]:
    """Copy the student ``encoder``, whose files are in ``source``, into the site ``folder``; returns its facts.

    A token table is written as plain numbers, any other student as the ONNX file that ``encoder`` uses. Raises
    `DamageError` for a file that was changed.
    """
    record = ExportRecord.read(source)
    (folder / FOLDER).mkdir()
    tokenizer = folder / FOLDER / TOKENIZER
    shutil.copyfile(record.check(source, TOKENIZER), tokenizer)
    facts = {
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
