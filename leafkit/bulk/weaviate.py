"""Bulk files of Weaviate (1.19 and later): bodies of requests to /v1/batch/objects, and of one to /v1/schema.

https://docs.weaviate.io/weaviate/api/rest
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from leafkit.bulk.fields import WORDS, Field
from leafkit.bulk.format import PAYLOAD, BulkFormat, encoded, with_vector

DOCUMENT_ID = "doc_id"  # an object's own id is a UUID
_TYPES = {"integer": "int", "number": "number", "boolean": "boolean", "text": "text", "texts": "text[]", WORDS: "text"}


class Weaviate(BulkFormat):
    """Bulk files of Weaviate. The distance of a hit there is minus its cosine."""

    engine: ClassVar[str] = "Weaviate"
    files: ClassVar[tuple[str, str]] = ("objects", "json")
    name_rule: ClassVar[tuple[str, str]] = (r"[A-Z]\w{0,199}", "a capital letter, then letters, digits and underscores")
    opening: ClassVar[bytes] = b'{"objects": [\n'
    separator: ClassVar[bytes] = b",\n"
    closing: ClassVar[bytes] = b"\n]}\n"
    own_fields: ClassVar[frozenset[str]] = frozenset({PAYLOAD, DOCUMENT_ID, "id", "_id", "_additional"})

    @classmethod
    def default_name(cls, stem: str) -> str:
        """Return ``stem`` with a capital letter first, and underscores for what the engine refuses."""
        name = re.sub(r"\W+", "_", stem, flags=re.ASCII)[:200]
        name = name[:1].upper() + name[1:]
        return name if re.match("[A-Z]", name) else f"Docs{name}"

    def field_name(self, name: str) -> bool:
        """GraphQL keeps names that begin with two underscores for itself, and Weaviate writes a first capital small."""
        return re.fullmatch(r"(?!__)[a-z_]\w{0,199}", name, flags=re.ASCII) is not None

    def schema_files(self) -> dict[str, str]:
        """Return class.json, whose description is the JSON of the space: a class has no other place for it."""
        body = {
            "class": self.name,
            "description": json.dumps(self._label()),
            "vectorizer": "none",
            "vectorIndexType": "hnsw",
            "vectorIndexConfig": {"distance": "dot"},
            "invertedIndexConfig": {"indexNullState": True},
            "properties": [
                {"name": DOCUMENT_ID, "dataType": ["text"], "tokenization": "field"},
                *map(_property, self.fields),
                {"name": PAYLOAD, "dataType": ["text"], "indexFilterable": False, "indexSearchable": False},
            ],
        }
        return {"class.json": json.dumps(body, indent=1) + "\n"}

    def record(self, name: str, typed: Mapping[str, Any], rest: Mapping[str, Any], vector: str) -> bytes:
        """Return the object. Its UUID is the one that ``generate_uuid5`` of Weaviate's Python client gives the id."""
        key = uuid.uuid5(uuid.NAMESPACE_DNS, name.encode("utf-8", "backslashreplace").decode())
        fields = {DOCUMENT_ID: name, **typed, **({PAYLOAD: json.dumps(rest)} if rest else {})}
        return encoded(with_vector({"class": self.name, "id": str(key), "properties": fields}, vector, "vector"))

    def load_commands(self) -> str:
        """Return the commands; they print a message for each document that was refused."""
        return """\
curl -sS localhost:8080/v1/schema -H 'Content-Type: application/json' --data-binary @class.json
for file in objects-*.json; do
  curl -sS localhost:8080/v1/batch/objects -H 'Content-Type: application/json' --data-binary "@$file" \\
    | grep -o '"message":"[^"]*"'
done"""

    def search_command(self) -> str:
        """Return the command of a search."""
        return "curl -sS localhost:8080/v1/graphql -H 'Content-Type: application/json' --data-binary @-"

    def search_body(self) -> str:
        """Return a search of the graph; a ``where`` beside ``limit`` limits it."""
        wanted = " ".join([DOCUMENT_ID, *(field.name for field in self.fields), PAYLOAD])
        search = f"{self.name}(nearVector: {{{{vector: {{vector}}}}}}, limit: {{k}})"
        return f"""{{
    "query": f"{{{{ Get {{{{ {search} {{{{ {wanted} _additional {{{{ distance }}}} }}}} }}}} }}}}"
}}"""


def _property(field: Field) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": field.name, "dataType": [_TYPES[field.kind]]}
    if field.kind == WORDS:
        facts["tokenization"] = "word"
    elif field.kind in ("text", "texts"):
        facts["tokenization"] = "field"
    return facts
