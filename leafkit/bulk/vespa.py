"""Bulk files of Vespa: an application package, and a feed of one JSON operation per line.

https://docs.vespa.ai/en/reference/schemas/document-json-format.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from leafkit.bulk.fields import WORDS, Field
from leafkit.bulk.format import PAYLOAD, VECTOR, BulkFormat, encoded, with_vector
from leafkit.errors import OptionError

PROFILE = "leafkit"
_TYPES = {"integer": "long", "number": "double", "boolean": "bool", "text": "string", "texts": "array<string>"}
# Vespa refuses a text with one of these characters.
_REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_SERVICES = """\
<?xml version="1.0" encoding="utf-8" ?>
<services version="1.0">
  <container id="default" version="1.0">
    <search />
    <document-api />
  </container>
  <content id="content" version="1.0">
    <min-redundancy>1</min-redundancy>
    <documents>
      <document type="{name}" mode="index" />
    </documents>
  </content>
</services>
"""


class Vespa(BulkFormat):
    """Bulk files of Vespa. The relevance of a hit there is its cosine."""

    engine: ClassVar[str] = "Vespa"
    files: ClassVar[tuple[str, str]] = ("feed", "jsonl")
    name_rule: ClassVar[tuple[str, str]] = (
        r"[A-Za-z_]\w{0,199}",
        "letters, digits and underscores, the first one no digit",
    )
    own_fields: ClassVar[frozenset[str]] = frozenset({VECTOR, PAYLOAD, "documentid", "relevance", "sddocname"})

    @classmethod
    def default_name(cls, stem: str) -> str:
        """Return ``stem`` with underscores for what the engine refuses."""
        name = re.sub(r"\W+", "_", stem, flags=re.ASCII)[:200]
        return name if re.match(r"[A-Za-z_]", name) else f"docs{name}"

    def field_name(self, name: str) -> bool:
        """Names of fields follow the rule of the schema's name."""
        return re.fullmatch(self.name_rule[0], name, flags=re.ASCII) is not None

    def clean(self, value: Any) -> Any:
        """Replace the characters that Vespa refuses in texts by spaces."""
        if isinstance(value, list):
            return [self.clean(one) for one in value]
        return _REFUSED.sub(" ", value) if isinstance(value, str) else value

    def schema_files(self) -> dict[str, str]:
        """Return the smallest application package; its schema knows the space in a comment."""
        tensor = f"tensor<float>(x[{self.dim}])"
        fields = "\n".join(map(_field, self.fields))
        label = json.dumps(self._label(), ensure_ascii=True)
        schema = f"""\
# {label}
schema {self.name} {{
    document {self.name} {{
{fields}
        field {PAYLOAD} type string {{
            indexing: summary
        }}
        field {VECTOR} type {tensor} {{
            indexing: attribute | index
            attribute {{
                distance-metric: prenormalized-angular
            }}
            index {{
                hnsw {{
                    max-links-per-node: 16
                    neighbors-to-explore-at-insert: 200
                }}
            }}
        }}
    }}
    fieldset default {{
        fields: {", ".join(field.name for field in self.fields if field.kind == WORDS)}
    }}
    rank-profile {PROFILE} {{
        inputs {{
            query(q) {tensor}
        }}
        first-phase {{
            expression: 1 - distance(field, {VECTOR})
        }}
    }}
}}
"""
        services = _SERVICES.format(name=self.name)
        return {f"application/schemas/{self.name}.sd": schema, "application/services.xml": services}

    def record(self, name: str, typed: Mapping[str, Any], rest: Mapping[str, Any], vector: str) -> bytes:
        """Return the operation that puts the document, one line."""
        if not name or _REFUSED.search(name):
            raise OptionError(f"the id {name[:80]!r} is empty or has characters that Vespa refuses. Change it.")
        # Escapes keep the characters that Vespa refuses.
        fields = {**typed, PAYLOAD: json.dumps(rest)} if rest else typed
        put = json.dumps(f"id:{self.name}:{self.name}::{name}", ensure_ascii=False)
        values = f'{{"values": {vector}}}'
        return encoded(f'{{"put": {put}, "fields": {with_vector(fields, values)}}}\n')

    def load_commands(self) -> str:
        """Return the commands, of the program ``vespa``."""
        return "vespa deploy application\nvespa feed feed-*.jsonl"

    def search_command(self) -> str:
        """Return the command of a search."""
        return "curl -sS localhost:8080/search/ -H 'Content-Type: application/json' --data-binary @-"

    def search_body(self) -> str:
        """Return a search of the graph; conditions after ``and`` limit it."""
        return f"""{{
    "yql": f"select * from {self.name} where {{{{targetHits:{{k}}}}}}nearestNeighbor({VECTOR},q)",
    "input.query(q)": vector,
    "ranking": {PROFILE!r},
    "hits": k,
}}"""


def _field(field: Field) -> str:
    if field.kind == WORDS:
        kind, body = "string", ["indexing: summary | index", "index: enable-bm25"]
    else:
        kind, body = _TYPES[field.kind], ["indexing: summary | attribute"]
        if field.kind != "boolean":
            body += ["attribute: fast-search", "rank: filter"]
    inside = "\n".join(f"            {line}" for line in body)
    return f"        field {field.name} type {kind} {{\n{inside}\n        }}"
