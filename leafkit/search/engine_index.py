"""An index in an engine, such as a table of PostgreSQL, as a searcher sees it."""

from __future__ import annotations

import logging
import weakref
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.engines.contents import Contents
from leafkit.engines.engine import Found
from leafkit.engines.open import open_engine
from leafkit.engines.url import EngineUrl
from leafkit.errors import EngineError, VectorError
from leafkit.files.json_file import explain_invalid, parse_json_object
from leafkit.filters.exact import reduced
from leafkit.filters.where import Where, read_where
from leafkit.search.hits import Hits
from leafkit.vectors.cosine import unit_prefix

log = logging.getLogger("leafkit")


class EngineIndex:
    """The documents at the address ``url``. Any number of threads may search them."""

    def __init__(self, url: str) -> None:
        """Connect to the engine; raises `EngineError` if it cannot be reached or holds nothing that leafkit wrote."""
        self.url = EngineUrl.parse(url)
        self._engine = open_engine(self.url)
        weakref.finalize(self, self._engine.close)
        contents = self._engine.contents()
        if contents is None:
            raise EngineError(f"{self.url} does not exist. Write it with: leafkit push INDEX ADDRESS")
        if not contents.complete:
            log.warning("%s is not complete: a push was interrupted, or is running", self.url)
        self.contents: Contents = contents

    def __len__(self) -> int:
        return self._engine.count()

    def search(self, vectors: NDArray[Any], k: int, where: Where | None) -> list[Hits]:
        """Return the hits of each of ``vectors`` (queries, at least dim); raises the errors of `Searcher.search`."""
        widths = sorted({self.contents.space.dim, self.contents.dim})
        numbers = numpy.issubdtype(vectors.dtype, numpy.number)
        if vectors.ndim != 2 or not numbers or vectors.shape[1] not in widths:
            raise VectorError(
                f"the query vectors are {vectors.dtype} of shape {vectors.shape}; expected rows of "
                f"{' or '.join(map(str, widths))} numbers."
            )
        condition = True if where is None else reduced(read_where(where), self.contents.schema)
        units = unit_prefix(vectors, self.contents.dim, source="the queries")
        if condition is False:
            return [self._hits(Found([], [], [])) for _ in units]
        found = self._engine.search(units, k, None if condition is True else condition) if len(units) else []
        return [self._hits(one) for one in found]

    def _hits(self, found: Found) -> Hits:
        advice = "Push the index again."
        with explain_invalid(self.url, expected="a table of payloads", advice=advice, error_type=EngineError):
            payloads = [parse_json_object(payload) for payload in found.payloads]
        return Hits(list(found.ids), numpy.array(found.scores, dtype=numpy.float32), payloads)
