"""Writes the vectors of texts to a file that serves as a teacher later on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TypeGuard

from leafkit.errors import OptionError
from leafkit.teachers.open import open_teacher
from leafkit.texts.read import read_texts
from leafkit.types import Encoder, Teacher, check_role
from leafkit.vectors.cached import cached
from leafkit.vectors.encode import encode_by_role
from leafkit.vectors.store import DTYPES, is_exact
from leafkit.vectors.vectors_file import check_vectors_output, vectors_file_writer
from leafkit.vectors.vectors_file_types import SpaceLabel

CHUNK = 65536  # texts held in memory at a time


def embed(
    texts: str | PathLike[str] | Sequence[str | PathLike[str]],
    encoder: Encoder | str | Path,
    out: str | Path,
    *,
    role: str = "document",
    precision: str = "float16",
    cache: Path | None = None,
    overwrite: bool = False,
    skip_bad: bool = False,
    text_column: str | None = None,
    id_column: str | None = None,
) -> Path:
    """The file ``out`` with id, text, role and vector of every text: .parquet, or .npy with .jsonl and .space.json.

    ``texts`` is read by `read_texts`; ``role`` is for those that say none. A teacher's vectors go through the store
    below ``cache``, so a run that was stopped carries on. The file opens as a teacher of the same space.

    Raises `OutputError` if ``out`` exists, unless it is leafkit's own and ``overwrite`` is set.
    """
    out = Path(out)
    given = check_role(role)
    if precision not in DTYPES:
        raise OptionError(f"unknown vector precision {precision!r}: choose float16 or float32")
    check_vectors_output(out, overwrite=overwrite)
    opened = open_teacher(encoder) if isinstance(encoder, str | Path) else encoder
    label = SpaceLabel(space=opened.space, approximate=not is_exact(opened))
    source = cached(opened, cache, dtype=precision) if _worth_keeping(opened) else opened
    rows = read_texts(texts, role=role, skip_bad=skip_bad, text_column=text_column, id_column=id_column)
    with vectors_file_writer(out, label, precision=precision) as write:
        while chunk := list(islice(rows, CHUNK)):
            contents, roles = [row.full_text for row in chunk], [row.role or given for row in chunk]
            vectors = encode_by_role(source, contents, roles, source="the encoder")
            write([row.id for row in chunk], contents, roles, vectors)
    return out


def _worth_keeping(encoder: Encoder) -> TypeGuard[Teacher]:
    """Whether vectors go through the store: a student's are not the teacher's, a file's are kept already."""
    return isinstance(encoder, Teacher) and "online" in encoder.signals and is_exact(encoder)
