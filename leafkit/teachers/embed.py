"""Writing the vectors of texts to a file, which can be opened as a teacher later."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TypeGuard

from leafkit.errors import OptionError
from leafkit.teachers.open import open_teacher
from leafkit.texts.read import read_texts
from leafkit.types import Encoder, Role, Teacher, check_role
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
    """Write id, text, role and vector of every text to the file ``out`` and return its path.

    ``out`` ends in .parquet or in .npy; a .npy file gets a .jsonl and a .space.json file next to it. The file opens as
    a teacher of the same space. ``texts`` are read with `read_texts`. The vectors of a teacher are cached in the
    folder ``cache``, so that a run that was stopped continues where it stopped.

    Raises `OutputError` if ``out`` exists, unless leafkit wrote the file and ``overwrite`` is true.
    """
    out = Path(out)
    default_role = check_role(role)
    if precision not in DTYPES:
        raise OptionError(f"unknown precision {precision!r}; expected float16 or float32.")
    check_vectors_output(out, overwrite=overwrite)
    opened = open_teacher(encoder) if isinstance(encoder, str | Path) else encoder
    label = SpaceLabel(space=opened.space, approximate=not is_exact(opened))
    source = cached(opened, cache, dtype=precision) if _is_cacheable(opened) else opened
    rows = read_texts(texts, role=role, skip_bad=skip_bad, text_column=text_column, id_column=id_column)
    with vectors_file_writer(out, label, precision=precision) as write:
        while chunk := list(islice(rows, CHUNK)):
            full_texts = [row.full_text for row in chunk]
            roles: list[Role] = [row.role or default_role for row in chunk]
            vectors = encode_by_role(source, full_texts, roles, source="the encoder")
            write([row.id for row in chunk], full_texts, roles, vectors)
    return out


def _is_cacheable(encoder: Encoder) -> TypeGuard[Teacher]:
    """Tell whether to cache the vectors: not those of a student, nor those of a file, which are on disk already."""
    return isinstance(encoder, Teacher) and "online" in encoder.signals and is_exact(encoder)
