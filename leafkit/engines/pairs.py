"""Texts and vectors that an engine holds already, whoever wrote them: what a student can learn from.

What leafkit pushed is read as it is. Any other table or collection is read by the names of its columns, which follow
its name in the address: ``postgresql://host/database#docs?text=body&vector=embedding&id=id``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

import numpy

from leafkit.engines.foreign import READERS, Row
from leafkit.engines.open import TIMEOUT, open_engine
from leafkit.engines.url import EngineUrl
from leafkit.errors import EngineError, OptionError, VectorError, nearest
from leafkit.files.json_file import parse_json_object
from leafkit.space import Space
from leafkit.texts.record import join_title
from leafkit.types import Float32

SIZE = 1_000  # rows that are received at a time
_COLUMNS = ("text", "vector", "id", "title")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Some ids, texts with their titles before them, and their vectors (texts, dim). An id may be None."""

    ids: list[str | None]
    texts: list[str]
    vectors: Float32


@dataclass(frozen=True)
class PairsUrl:
    """An address of pairs: that of a table or collection, and the names of its columns if leafkit did not write it.

    columns: the column of ``text`` and that of ``vector``, and those of ``id`` (which orders the rows) and ``title`` if
        given; None for what leafkit wrote.
    """

    url: EngineUrl
    columns: dict[str, str] | None

    def __str__(self) -> str:
        return str(self.url)

    @classmethod
    def parse(cls, text: str) -> PairsUrl:
        """Parse an address; raises the errors of `EngineUrl.parse`, and `OptionError` for wrong names of columns."""
        address, mark, query = text.partition("#")
        name, question, query = query.partition("?")
        if not question:
            return cls(EngineUrl.parse(text), None)
        url = EngineUrl.parse(f"{address}{mark}{unquote(name)}")
        try:
            columns = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True))
        except ValueError:
            columns = {}
        for key in columns:
            if key not in _COLUMNS:
                raise OptionError(f"{url} names a column {key!r:.100}; {nearest(key, _COLUMNS)}.".replace("?.", "?"))
        if not columns.get("text") or not columns.get("vector") or not all(columns.values()):
            raise OptionError(
                f"{url} needs the names of its columns of texts and of vectors. Write them after its name, as in "
                "#docs?text=body&vector=embedding&id=id."
            )
        return cls(url, columns)


@dataclass(frozen=True, slots=True)
class OpenPairs:
    """Pairs that are being read: their space, None if nothing records it, and their ``batches``."""

    space: Space | None
    batches: Iterator[Pairs]


def open_pairs(address: PairsUrl) -> OpenPairs:
    """Read the pairs at ``address``, in a stable order.

    Rows without a text or a vector are left out. Raises `EngineError` if the engine cannot be reached, holds nothing
    there or goes away, and `VectorError` for vectors of different widths and for vectors that are truncated.
    """
    if address.columns is not None:
        rows = READERS[address.url.engine](address.url, TIMEOUT, address.columns, SIZE)
        return OpenPairs(None, _foreign(address, rows))
    engine = open_engine(address.url)
    contents = engine.contents()
    if contents is None:
        raise EngineError(f"{address} does not exist. Write it with: leafkit push INDEX ADDRESS")
    if contents.dim < contents.space.dim:
        raise VectorError(
            f"{address} holds only the first {contents.dim} of {contents.space.dim} components of each vector, from "
            "which a student cannot learn the whole. Push an index that keeps all of them."
        )

    def read() -> Iterator[Pairs]:
        with engine:
            for rows in engine.read(SIZE):
                texts = [_text(payload, address) for payload in rows.payloads]
                yield from _kept(list(rows.ids), texts, rows.vectors)

    return OpenPairs(contents.space, read())


def _foreign(address: PairsUrl, batches: Iterable[Sequence[Row]]) -> Iterator[Pairs]:
    dim: int | None = None
    for rows in batches:
        texts = [join_title(row.title or "", row.text) if isinstance(row.text, str) else None for row in rows]
        vectors = [None if row.vector is None else _array(row.vector, address) for row in rows]
        for vector in vectors:
            dim = len(vector) if dim is None and vector is not None else dim
            if vector is not None and len(vector) != dim:
                raise VectorError(f"{address} holds vectors of {dim} and of {len(vector)} components. Use one model's.")
        filled = [numpy.zeros(dim or 0, numpy.float32) if vector is None else vector for vector in vectors]
        kept = [None if vector is None else text for text, vector in zip(texts, vectors, strict=True)]
        ids = [None if row.id is None else str(row.id) for row in rows]
        yield from _kept(ids, kept, numpy.array(filled, dtype=numpy.float32))


def _kept(ids: Sequence[str | None], texts: Sequence[str | None], vectors: Float32) -> Iterator[Pairs]:
    """Yield the rows that have a text."""
    places = [place for place, text in enumerate(texts) if text and text.strip()]
    if places:
        yield Pairs([ids[place] for place in places], [str(texts[place]).strip() for place in places], vectors[places])


def _text(payload: str, address: PairsUrl) -> str | None:
    try:
        content = parse_json_object(payload)
    except ValueError as error:
        raise EngineError(f"a payload in {address} is damaged ({error}). Push the index again.") from error
    text, title = content.get("text"), content.get("title")
    return join_title(title if isinstance(title, str) else "", text) if isinstance(text, str) else None


def _array(vector: Any, address: PairsUrl) -> Float32:
    try:
        array = numpy.asarray(vector, dtype=numpy.float32)
    except (TypeError, ValueError) as error:
        raise VectorError(f"{address}: a vector is {type(vector).__name__}; expected numbers ({error}).") from error
    if array.ndim != 1 or not len(array):
        raise VectorError(f"{address}: a vector has the shape {array.shape}; expected one row of numbers.")
    return array
