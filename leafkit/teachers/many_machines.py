"""Encode the texts of ``leafkit embed`` in shards: one of them in this process, or all with a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

from leafkit.errors import OptionError
from leafkit.extras import import_optional
from leafkit.files.options import OutputOptions
from leafkit.teachers.api.address import PREFIX
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.teachers.shard_options import SHARD_ROWS, ShardOptions
from leafkit.teachers.shards import ShardWriter, check_folder, embed_shard
from leafkit.teachers.spread_with_ray import embed_with_ray
from leafkit.texts.options import ReadingOptions, RoleOptions
from leafkit.texts.read import check_texts, read_texts
from leafkit.texts.record import Text
from leafkit.types import Encoder, check_role
from leafkit.vectors.corpus_survey import CorpusSurvey
from leafkit.vectors.shards import Shard
from leafkit.vectors.store import default_cache

log = logging.getLogger("leafkit")


def embed_in_shards(
    texts: str | PathLike[str] | Sequence[str | PathLike[str]],
    encoder: Encoder | str | Path,
    out: Path,
    sharding: ShardOptions,
    *,
    reading: RoleOptions,
    opening: TeacherOptions,
    files: OutputOptions,
    precision: str,
) -> Path:
    """Encode what ``sharding`` asks for into the folder ``out``; see `leafkit.embed`. Return what it wrote."""
    shard, role = None if sharding.shard is None else Shard.parse(sharding.shard), check_role(reading.role)
    if shard is None:
        _check_ray(encoder, files)
    else:
        check_folder(out, shard.count)
    check_texts(texts, reading)

    def read() -> Iterator[Text]:
        return read_texts(texts, role=role, **reading.only(ReadingOptions))

    log.info("reading all texts once, to count them")
    survey = CorpusSurvey.of(read())
    writer = ShardWriter(
        folder=out,
        count=shard.count if shard else sharding.shards or -(-survey.rows // SHARD_ROWS),
        survey=survey,
        role=role,
        precision=precision,
        overwrite=files.overwrite,
    )
    if shard is None:
        return embed_with_ray(read(), str(encoder), opening, writer, sharding)
    # What an API was paid for is kept where every command finds it, though processes then wait for each other.
    cache = default_cache() if files.cache is None and str(encoder).startswith(PREFIX) else files.cache
    opened = open_with(encoder, opening) if isinstance(encoder, str | Path) else encoder
    return embed_shard(read, opened, writer, shard, cache=cache)


def _check_ray(encoder: Encoder | str | Path, files: OutputOptions) -> None:
    """Raise an error for what a Ray cluster cannot do, before the texts are read."""
    if not isinstance(encoder, str | Path):
        raise OptionError("ray needs the name or the folder of the encoder, not an open one. Pass its name.")
    if str(encoder).startswith(PREFIX):
        raise OptionError("ray does not apply to an API, which does the work itself. Raise concurrency instead.")
    if files.cache is not None:
        raise OptionError("cache does not apply to workers of Ray, which may be other machines. Remove the option.")
    import_optional("ray")
