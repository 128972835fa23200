"""What embedding would send to an API: which texts are not cached yet, how many tokens they have, what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError
from leafkit.files.digest import text_key
from leafkit.files.options import CacheOptions
from leafkit.options import options_of
from leafkit.teachers.api.address import PREFIX
from leafkit.teachers.api.limits import Price
from leafkit.teachers.api.teacher import ApiTeacher
from leafkit.teachers.options import EmbedOptions, TeacherOptions
from leafkit.teachers.shard_options import ShardOptions
from leafkit.texts.options import ReadingOptions, RoleOptions
from leafkit.texts.read import check_texts, read_texts
from leafkit.types import Role, check_role
from leafkit.vectors.store import VectorStore

Sources = str | PathLike[str] | Sequence[str | PathLike[str]]
CHUNK = 16_384  # texts looked up at a time


class Chunk(NamedTuple):
    """Texts that have no vector yet, each once, with their roles and their keys in the store."""

    texts: list[str]
    roles: list[Role]
    keys: list[bytes]


class Unsent:
    """The texts of ``sources`` that the cache of ``teacher`` lacks. Counts ``rows`` and ``cached`` while it is read."""

    def __init__(self, sources: Sources, teacher: ApiTeacher, options: Mapping[str, Any]) -> None:
        """Open the cache, unless the width of the vectors is unknown: then nothing counts as cached."""
        self.rows = 0
        self.cached = 0
        self.store: VectorStore | None = None
        self._sources, self._reading = sources, options_of(RoleOptions, options)
        self._role: Role = check_role(self._reading.role)
        check_texts(sources, options_of(ReadingOptions, options))
        if teacher.is_width_known:
            precision, cache = options_of(EmbedOptions, options).precision, options_of(CacheOptions, options).cache
            self.store = VectorStore.open(cache, teacher.space, dtype=precision)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the missing texts in chunks, in order."""
        rows = iter(read_texts(self._sources, role=self._role, **self._reading.only(ReadingOptions)))
        seen: set[bytes] = set()
        while read := list(islice(rows, CHUNK)):
            texts = [row.full_text for row in read]
            roles: list[Role] = [row.role or self._role for row in read]
            is_cached = self._is_cached(texts, roles).tolist()
            self.rows += len(texts)
            self.cached += sum(is_cached)
            chunk = Chunk([], [], [])
            for text, role, known in zip(texts, roles, is_cached, strict=True):
                key = text_key(role, text)
                if not known and key not in seen:
                    seen.add(key)
                    chunk.texts.append(text)
                    chunk.roles.append(role)
                    chunk.keys.append(key)
            yield chunk

    def _is_cached(self, texts: Sequence[str], roles: Sequence[Role]) -> NDArray[numpy.bool_]:
        cached = numpy.zeros(len(texts), dtype=bool)
        for store in () if self.store is None else (self.store, self.store.in_float32):
            cached |= store.rows(texts, roles) >= 0
        return cached


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What embedding would send: of ``rows`` texts, ``cached`` have a vector; ``sent`` different ones would be sent.

    tokens: of the texts to send, counted as ``word`` says (``about`` or ``exactly``).
    too_long: the texts over the model's ``limit`` of tokens, which are refused; ``example`` is the first one's text.
    is_width_known: whether the cache could be looked up.
    """

    name: str
    rows: int
    cached: int
    sent: int
    tokens: int
    word: str
    price: Price
    limit: int | None
    too_long: int
    example: str
    is_width_known: bool

    def __str__(self) -> str:
        unknown = "" if self.is_width_known else " (unknown: the width of the vectors is not known; set --dimensions)"
        lines = [
            f"{self.name}: nothing was sent",
            f"  texts    {self.rows:,}, of which {self.rows - self.cached - self.sent:,} are repeated",
            f"  cached   {self.cached:,}{unknown}",
            f"  to send  {self.sent:,} texts, {self.price.words(self.tokens, word=self.word)}",
        ]
        if self.too_long:
            lines.append(
                f"  too long {self.too_long:,} texts over {self.limit or 0:,} tokens, which are refused; the first "
                f"begins {self.example[:60]!r}"
            )
        return "\n".join(lines)


def open_api(encoder: str | Path, options: Mapping[str, Any]) -> ApiTeacher:
    """Open the API that ``encoder`` names, without a request; raise `OptionError` for another encoder."""
    if not str(encoder).startswith(PREFIX):
        raise OptionError(f"{encoder} is not behind an API; expected a name that begins with {PREFIX}.")
    return ApiTeacher.open(str(encoder), options_of(TeacherOptions, options))


def refuse_shards(options: Mapping[str, Any]) -> None:
    """Raise `OptionError` for an option of `ShardOptions`: every shard would stand for all texts, and be paid for."""
    if options_of(ShardOptions, options).in_shards:
        raise OptionError("shard and ray do not apply to --dry-run and --batch-file, which are about all texts.")


def estimate_embedding(texts: Sources, encoder: str | Path, **options: Any) -> Estimate:
    """Return what `leafkit.embed` with the same arguments would send to an API; nothing is sent."""
    refuse_shards(options)
    teacher = open_api(encoder, options)
    unsent = Unsent(texts, teacher, options)
    sent = tokens = too_long = 0
    example = ""
    for chunk in unsent:
        _, counts = teacher.count(chunk.texts, chunk.roles)
        long = teacher.too_long(counts)
        example = example or (chunk.texts[int(long[0])] if len(long) else "")
        sent, tokens, too_long = sent + len(counts), tokens + int(counts.sum()), too_long + len(long)
    return Estimate(
        name=f"{PREFIX}{teacher.endpoint.name}",
        rows=unsent.rows,
        cached=unsent.cached,
        sent=sent,
        tokens=tokens,
        word=teacher.counter.word,
        price=teacher.price,
        limit=teacher.limit,
        too_long=too_long,
        example=example,
        is_width_known=teacher.is_width_known,
    )
