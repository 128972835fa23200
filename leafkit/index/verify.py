"""`verify`: compare the hits of an engine with exact search in the index, with and without filters."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from leafkit.engines.engine import Engine, Found
from leafkit.engines.open import open_engine
from leafkit.engines.url import EngineUrl
from leafkit.errors import OptionError
from leafkit.files.json_file import parse_json_object, standard_json
from leafkit.filters.conditions import Compare, Condition, Not, Value
from leafkit.filters.exact import reduced
from leafkit.filters.schema import Schema
from leafkit.filters.where import read_where
from leafkit.index.engine_options import VerifyOptions
from leafkit.index.pull import known_contents
from leafkit.index.push import digests_of, portable_schema
from leafkit.options import options_of, takes
from leafkit.search.columns import Columns
from leafkit.search.documents import Documents
from leafkit.search.package import Package, open_package, retry_during_update
from leafkit.search.searcher import Searcher
from leafkit.search.vector_search import Neighbours, VectorSearch
from leafkit.space import require_same
from leafkit.types import Encoder, Float32, Int64
from leafkit.vectors.cosine import unit_prefix

# By how much a cosine of the engine may differ from the exact one of the same document.
TOLERANCE = {"float32": 1e-5, "float16": 1e-3, "binary": 1e-3, "int8": 1e-2}
# Two documents whose cosines differ by less are equally near: float32 sums depend on their order.
TIED = 1e-5
_MOST_DRAWN = 8  # columns that a filter is drawn for


@dataclass(frozen=True, slots=True)
class Comparison:
    """The hits of all queries with one filter.

    where: the filter; None for the search without one.
    allowed: the documents that fulfil the filter.
    hits: the hits that exact search returns for all ``queries`` together, and ``equal`` those that the engine found.
    wrong: hits that the filter forbids, that the index does not have, or whose payload or cosine is another one.
    milliseconds: the median time of a query in the engine.
    """

    where: str | None
    allowed: int
    queries: int
    hits: int
    equal: int
    wrong: int
    milliseconds: float

    @property
    def share(self) -> float:
        """The share of equal hits."""
        return self.equal / self.hits if self.hits else 1.0


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found. ``different`` of the ``compared`` documents are missing in the engine or have changed."""

    documents: int
    in_engine: int
    compared: int
    different: int
    comparisons: list[Comparison]
    at_least: float

    @property
    def is_equal(self) -> bool:
        """Whether the engine holds the documents of the index, and finds what exact search finds."""
        return (
            self.documents == self.in_engine
            and not self.different
            and all(one.share >= self.at_least and not one.wrong for one in self.comparisons)
        )

    def __str__(self) -> str:
        head = ("filter", "allowed", "hits", "equal", "", "wrong", "ms")
        rows = [head, *map(_cells, self.comparisons)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = [
            "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(cells))
            for cells in (list(zip(row, widths)) for row in rows)
        ]
        counts = f"{self.documents:,} documents in the index, {self.in_engine:,} in the engine"
        return "\n".join([*lines, f"{counts}; {self.different:,} of {self.compared:,} compared ones differ"])


@takes(VerifyOptions)
def verify(
    index: str | Path,
    engine: str,
    queries: Iterable[str] | None = None,
    *,
    where: Sequence[str] | None = None,
    student: str | Path | Encoder | None = None,
    **options: Any,
) -> Verification:
    """Compare what the engine at the address ``engine`` finds with exact search in ``index``.

    queries: texts, which the student of the index encodes. None: documents, drawn with ``seed``, stand for queries.
    where: filters to search with. None: filters drawn from the columns of the documents.
    student: encodes the queries in place of the index's student.

    A hit is equal if exact search ranks no other document before it (cosines within 1e-5 count as equal). Documents are
    compared by a hash of id, payload, columns and vector. Raises the errors of `leafkit.push_index` and
    `leafkit.Searcher.search`.
    """
    url, chosen = EngineUrl.parse(engine), options_of(VerifyOptions, options)
    texts = None if queries is None else list(queries)
    if texts is not None and not texts:
        raise OptionError("there are no queries. Give at least one, or leave queries out to draw documents.")
    package = retry_during_update(Path(index), lambda: open_package(index, verify=True))
    with package.files, open_engine(url, timeout=chosen.timeout) as opened:
        contents = known_contents(opened, url)
        space = package.manifest.space
        require_same(contents.space, space, expected_by=str(url), got_from=f"the index {package.folder}")
        if contents.dim != package.manifest.dim:
            raise OptionError(f"{url} holds {contents.dim} components, but the index {package.manifest.dim}.")
        vectors = None if texts is None else Searcher.open(index, encoder=student).encoder.encode(texts, "query")
        return _Verify(package, opened, chosen, TOLERANCE[contents.precision], vectors).run(where)


class _Verify:
    """A comparison of ``package`` with ``engine``; ``vectors`` are those of the queries, or None."""

    def __init__(
        self, package: Package, engine: Engine, options: VerifyOptions, tolerance: float, vectors: Float32 | None
    ) -> None:
        self._engine, self._options, self._tolerance = engine, options, tolerance
        self._documents: Documents = package.documents()
        self._columns: Columns | None = package.columns()
        self._search: VectorSearch = package.vector_search()
        self._schema: Schema = portable_schema(package)
        self._random = numpy.random.default_rng(options.seed)
        rows = self._search.live_rows()
        self._drawn: Int64 = numpy.sort(self._random.permutation(rows)[: options.sample])
        given = self._search.vectors(self._drawn) if vectors is None else vectors
        self._queries = unit_prefix(given, self._search.dim, source="the queries")

    def run(self, where: Sequence[str] | None) -> Verification:
        filters = list(self._draw_filters()) if where is None else [read_where(one) for one in where]
        different = self._different()
        return Verification(
            documents=self._search.count,
            in_engine=self._engine.count(),
            compared=len(self._drawn),
            different=different,
            comparisons=[self._compare(one) for one in (None, *filters)],
            at_least=self._options.at_least,
        )

    def _different(self) -> int:
        """Return how many of the drawn documents are missing in the engine, or are others there."""
        different = 0
        for start in range(0, len(self._drawn), self._options.batch):
            rows = self._drawn[start : start + self._options.batch]
            documents = [self._documents[row] for row in rows.tolist()]
            vectors = unit_prefix(self._search.vectors(rows), self._search.dim, source="the vectors of the index")
            known = self._engine.digests([document.id for document in documents])
            different += sum(a != b for a, b in zip(known, digests_of(documents, vectors, self._schema), strict=True))
        return different

    def _compare(self, where: Condition | None) -> Comparison:
        allowed = self._search.live_rows()
        condition = None if where is None else reduced(where, self._schema)
        if where is not None and self._columns is not None:
            allowed = numpy.intersect1d(allowed, self._columns.rows(where))
        exact = self._search.search(self._queries, self._options.k, allowed, exact=True)
        found, times = self._searched(condition)
        counts = [self._count(place, hits, exact, allowed) for place, hits in enumerate(found)]
        return Comparison(
            where=None if where is None else str(where),
            allowed=len(allowed),
            queries=len(self._queries),
            hits=int(exact.rows.size),
            equal=sum(equal for equal, _ in counts),
            wrong=sum(wrong for _, wrong in counts),
            milliseconds=float(numpy.median(times)) if times else 0.0,
        )

    def _searched(self, condition: Condition | bool | None) -> tuple[list[Found], list[float]]:
        """Return the engine's hits of each query, and the milliseconds that each took."""
        if condition is False:
            return [Found([], [], []) for _ in self._queries], []
        found, times = [], []
        for query in self._queries:
            start = time.perf_counter()
            where = condition if not isinstance(condition, bool) else None
            found += self._engine.search(query[None], self._options.k, where)
            times.append((time.perf_counter() - start) * 1000)
        return found, times

    def _count(self, place: int, hits: Found, exact: Neighbours, allowed: Int64) -> tuple[int, int]:
        """Return how many of the engine's ``hits`` of a query are equal to exact ones, and how many are wrong."""
        rows = self._documents.rows_of(hits.ids)
        known = numpy.isin(rows, allowed)
        cosines = self._search.cosines(self._queries[place], numpy.maximum(rows, 0)) if len(rows) else numpy.empty(0)
        last = exact.scores[place, -1] if exact.scores.shape[1] else numpy.inf
        equal = len({row for row, one in zip(rows[known].tolist(), cosines[known].tolist()) if one >= last - TIED})
        differs = numpy.abs(cosines - numpy.array(hits.scores, dtype=float)) > self._tolerance
        payloads = [
            ok and not self._has_payload(row, payload)
            for ok, row, payload in zip(known.tolist(), rows.tolist(), hits.payloads, strict=True)
        ]
        return equal, int((~known | differs | numpy.array(payloads, dtype=bool)).sum())

    def _has_payload(self, row: int, payload: str) -> bool:
        own = parse_json_object(standard_json(dict(self._documents[row].payload)))
        try:
            return parse_json_object(payload) == own
        except ValueError:
            return False

    def _draw_filters(self) -> Iterator[Condition]:
        """Yield a filter for each of some columns, with a value that a drawn document has, and its opposite."""
        for name, kind in list(self._schema.types.items())[:_MOST_DRAWN]:
            values = [value for row in self._drawn[:100].tolist() if (value := self._value(row, name)) is not None]
            if values:
                value = values[self._random.integers(len(values))]
                drawn = Compare(name, ">=" if kind in ("integer", "number") else "=", value)
                yield drawn
                yield Not(drawn)

    def _value(self, row: int, name: str) -> Value | None:
        value = self._documents[row].payload.get(name)
        value = value[0] if isinstance(value, list) and value else value
        return value if isinstance(value, str | int | float) and value == value else None


def _cells(one: Comparison) -> tuple[str, ...]:
    where = one.where or "none"
    shown = where if len(where) <= 60 else f"{where[:59]}…"
    share = f"{one.share:.1%}"
    return (
        shown,
        f"{one.allowed:,}",
        f"{one.hits:,}",
        f"{one.equal:,}",
        share,
        str(one.wrong),
        f"{one.milliseconds:.1f}",
    )
