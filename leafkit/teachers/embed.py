"""Writing the vectors of texts to a file, which can be opened as a teacher later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

from leafkit.files.options import OutputOptions
from leafkit.options import options_of, takes
from leafkit.teachers.open import open_with
from leafkit.teachers.options import EmbedOptions, TeacherOptions
from leafkit.teachers.shard_options import ShardOptions
from leafkit.texts.options import ReadingOptions, RoleOptions
from leafkit.texts.read import check_texts, read_texts
from leafkit.texts.record import Text
from leafkit.types import Encoder, Role, check_role
from leafkit.vectors.cached import cached, is_cacheable
from leafkit.vectors.encode import encode_by_role
from leafkit.vectors.store import is_exact
from leafkit.vectors.vectors_file import check_vectors_output, vectors_file_writer
from leafkit.vectors.vectors_file_types import SpaceLabel

CHUNK = 65536  # texts held in memory at a time


@takes(EmbedOptions, RoleOptions, TeacherOptions, ShardOptions, OutputOptions)
def embed(
    texts: str | PathLike[str] | Sequence[str | PathLike[str]],
    encoder: Encoder | str | Path,
    out: str | Path,
    **options: Any,
) -> Path:
    """Encode texts and write them with their vectors to the file ``out``; return its path.

    The file holds id, title, text, role, vector, and all other columns of the texts.

    texts: files or folders as `leafkit.read_texts` takes them.
    encoder: an open teacher or student, or anything that `leafkit.open_teacher` takes. A teacher's vectors are cached,
        so an interrupted call continues where it stopped if you repeat it.
    out: .parquet, or .npy, which gets a .jsonl and a .space.json of the same name. The file opens as a teacher of the
        same space. With ``shard`` or ``ray`` it is a folder of shards, which opens as well.

    Raises `OutputError` if ``out`` exists, unless leafkit wrote it and ``overwrite`` is set.
    """
    out = Path(out)
    reading, files = options_of(RoleOptions, options), options_of(OutputOptions, options)
    default_role, precision = check_role(reading.role), options_of(EmbedOptions, options).precision
    overwrite, cache = files.overwrite, files.cache
    opening, sharding = options_of(TeacherOptions, options), options_of(ShardOptions, options)
    if sharding.in_shards:
        from leafkit.teachers.many_machines import embed_in_shards

        return embed_in_shards(
            texts, encoder, out, sharding, reading=reading, opening=opening, files=files, precision=precision
        )
    check_vectors_output(out, overwrite=overwrite)
    check_texts(texts, options_of(ReadingOptions, options))
    opened = open_with(encoder, opening) if isinstance(encoder, str | Path) else encoder
    label = SpaceLabel(space=opened.space, approximate=not is_exact(opened))
    source = cached(opened, cache, dtype=precision) if is_cacheable(opened) else opened

    def read() -> Iterator[Text]:
        return read_texts(texts, role=default_role, **reading.only(ReadingOptions))

    rows = read()
    with vectors_file_writer(out, label, precision=precision, texts=read) as write:
        while chunk := list(islice(rows, CHUNK)):
            full_texts = [row.full_text for row in chunk]
            roles: list[Role] = [row.role or default_role for row in chunk]
            vectors = encode_by_role(source, full_texts, roles, source="the encoder")
            write(chunk, roles, vectors)
    return out
