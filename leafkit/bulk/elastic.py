"""Bulk files of Elasticsearch (8.11 and later) and OpenSearch (2.9 and later): NDJSON for the endpoint _bulk.

https://www.elastic.co/docs/reference/elasticsearch/mapping-reference/dense-vector
https://docs.opensearch.org/latest/mappings/supported-field-types/knn-vector/
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from leafkit.bulk.fields import WORDS
from leafkit.bulk.format import PAYLOAD, VECTOR, BulkFormat, encoded, with_vector
from leafkit.errors import OptionError

LONGEST_ID = 512  # bytes
_TYPES: dict[str, dict[str, Any]] = {
    "integer": {"type": "long"},
    "number": {"type": "double"},
    "boolean": {"type": "boolean"},
    "text": {"type": "keyword"},
    "texts": {"type": "keyword"},
    WORDS: {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}},
}


class Elasticsearch(BulkFormat):
    """Bulk files of Elasticsearch. A score there is (1 + cosine) / 2."""

    engine: ClassVar[str] = "Elasticsearch"
    files: ClassVar[tuple[str, str]] = ("bulk", "ndjson")
    name_rule: ClassVar[tuple[str, str]] = (
        r"[a-z0-9][a-z0-9._-]{0,199}",
        "lower-case letters, digits, dots, hyphens and underscores, the first one a letter or a digit",
    )
    most_components: ClassVar[int] = 4096

    @classmethod
    def default_name(cls, stem: str) -> str:
        """Return ``stem`` in lower case, with hyphens for what the engine refuses."""
        return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).lstrip("._-")[:200] or "docs"

    def field_name(self, name: str) -> bool:
        """A dot makes an object of a field, and an underscore at the start names a field of the engine itself."""
        return re.fullmatch(r"[^\W_][^.*,\s]{0,199}", name) is not None

    def schema_files(self) -> dict[str, str]:
        """Return mapping.json, which knows the space. What is in ``payload`` is stored and not parsed."""
        properties = {field.name: _TYPES[field.kind] for field in self.fields}
        properties |= {VECTOR: self._vectors(), PAYLOAD: {"type": "object", "enabled": False}}
        mappings = {"_meta": self._label(), "dynamic": "strict", "properties": properties}
        return {"mapping.json": json.dumps({**self._settings(), "mappings": mappings}, indent=1) + "\n"}

    def record(self, name: str, typed: Mapping[str, Any], rest: Mapping[str, Any], vector: str) -> bytes:
        """Return the line of the action and the line of the document."""
        if not 0 < len(encoded(name)) <= LONGEST_ID:
            raise OptionError(
                f"the id {name[:80]!r} has {len(encoded(name))} bytes, but {self.engine} takes 1 to {LONGEST_ID}. "
                "Build the index with shorter ids."
            )
        action = json.dumps({"index": {"_id": name}}, ensure_ascii=False)
        document = {**typed, PAYLOAD: rest} if rest else typed
        return encoded(f"{action}\n{with_vector(document, vector)}\n")

    def load_commands(self) -> str:
        """Return the commands; each request says ``{"errors":false}``, or which documents were refused and why."""
        return f"""\
curl -sS -X PUT localhost:9200/{self.name} -H 'Content-Type: application/json' --data-binary @mapping.json
for file in bulk-*.ndjson; do
  curl -sS "localhost:9200/{self.name}/_bulk?filter_path=errors,items.*.error" \\
    -H 'Content-Type: application/x-ndjson' --data-binary "@$file"
done"""

    def search_command(self) -> str:
        """Return the command of a search."""
        return f"curl -sS localhost:9200/{self.name}/_search -H 'Content-Type: application/json' --data-binary @-"

    def search_body(self) -> str:
        """Return a search of the graph; a ``filter`` inside ``knn`` limits it."""
        return f"""{{
    "size": k,
    "knn": {{"field": {VECTOR!r}, "query_vector": vector, "k": k, "num_candidates": max(100, 4 * k)}},
    "_source": {{"excludes": [{VECTOR!r}]}},
}}"""

    def _settings(self) -> dict[str, Any]:
        return {}

    def _vectors(self) -> dict[str, Any]:
        options = {"type": "hnsw", "m": 16, "ef_construction": 100}
        return {
            "type": "dense_vector",
            "dims": self.dim,
            "index": True,
            "similarity": "dot_product",
            "index_options": options,
        }


class OpenSearch(Elasticsearch):
    """Bulk files of OpenSearch. A score there is 1 + cosine, and 1 / (1 - cosine) for a cosine below 0."""

    engine: ClassVar[str] = "OpenSearch"
    most_components: ClassVar[int] = 16_000

    def search_body(self) -> str:
        """Return a search of the graph; a ``filter`` beside ``k`` limits it."""
        return f"""{{
    "size": k,
    "query": {{"knn": {{{VECTOR!r}: {{"vector": vector, "k": k}}}}}},
    "_source": {{"excludes": [{VECTOR!r}]}},
}}"""

    def _settings(self) -> dict[str, Any]:
        return {"settings": {"index": {"knn": True}}}

    def _vectors(self) -> dict[str, Any]:
        parameters = {"m": 16, "ef_construction": 100}
        method = {"name": "hnsw", "engine": "faiss", "space_type": "innerproduct", "parameters": parameters}
        return {"type": "knn_vector", "dimension": self.dim, "method": method}
