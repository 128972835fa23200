"""What an engine has to say about its bulk files: names, schema, one document, how to load and how to search."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from leafkit.bulk.fields import Field
from leafkit.errors import OptionError
from leafkit.space import Space

VECTOR = "embedding"  # the field of the vectors
PAYLOAD = "payload"  # the field of what no other field holds


@dataclass(frozen=True, kw_only=True)
class BulkFormat(ABC):
    """Bulk files of one engine.

    name: what the engine calls the index.
    space, dim: the space of the vectors, and how many of their components are stored.
    fields: the other fields, by type.
    """

    name: str
    space: Space
    dim: int
    fields: Sequence[Field] = ()

    engine: ClassVar[str]
    files: ClassVar[tuple[str, str]]  # the first word of the names of bulk files, and their suffix
    name_rule: ClassVar[tuple[str, str]]  # a pattern, and what it says in words
    opening: ClassVar[bytes] = b""
    separator: ClassVar[bytes] = b""
    closing: ClassVar[bytes] = b""
    own_fields: ClassVar[frozenset[str]] = frozenset({VECTOR, PAYLOAD})
    most_components: ClassVar[int] = 1 << 16

    def __post_init__(self) -> None:
        """Raise `OptionError` for a name that the engine does not accept, and for vectors that are too wide."""
        pattern, words = self.name_rule
        if not re.fullmatch(pattern, self.name, flags=re.ASCII):
            raise OptionError(f"name is {self.name!r}; {self.engine} expects {words}.")
        if self.dim > self.most_components:
            raise OptionError(
                f"the vectors have {self.dim} components, but {self.engine} takes at most {self.most_components}. "
                "Build the index with --dim."
            )

    def accepts(self, column: str) -> bool:
        """Tell whether a column of the documents can be a field of that name."""
        return column not in self.own_fields and self.field_name(column)

    def clean(self, value: Any) -> Any:
        """Return ``value`` without what the engine refuses inside texts."""
        return value

    @classmethod
    @abstractmethod
    def default_name(cls, stem: str) -> str:
        """Return a valid name of an index for the ``stem`` of a folder's name."""

    @abstractmethod
    def field_name(self, name: str) -> bool:
        """Tell whether ``name`` can be the name of a field in this engine."""

    @abstractmethod
    def schema_files(self) -> dict[str, str]:
        """Return the files that tell the engine about the index: their content by path."""

    @abstractmethod
    def record(self, name: str, typed: Mapping[str, Any], rest: Mapping[str, Any], vector: str) -> bytes:
        """Return one document as it stands in a bulk file.

        name: the id of the document.
        typed, rest: its payload (see `leafkit.bulk.fields.split_payload`).
        vector: its vector as a JSON list.

        Raises `OptionError` for an id that the engine does not take.
        """

    @abstractmethod
    def load_commands(self) -> str:
        """Return the shell commands that create the index and load the bulk files."""

    @abstractmethod
    def search_command(self) -> str:
        """Return the shell command that sends a search on stdin to the engine."""

    @abstractmethod
    def search_body(self) -> str:
        """Return a Python expression for the body of a search, of the names ``vector`` (a list) and ``k``."""

    def _label(self) -> dict[str, Any]:
        return {"leafkit": {"space": self.space.to_json(), "dim": self.dim}}


def with_vector(document: Mapping[str, Any], vector: str, field: str = VECTOR) -> str:
    """Return ``document`` as one line of JSON, with ``vector``, which is JSON already, as its last ``field``."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    comma = ", " if document else ""
    return f'{text[:-1]}{comma}"{field}": {vector}}}'


def encoded(line: str) -> bytes:
    """Return ``line`` in UTF-8. Half of a surrogate pair becomes the escape that JSON has for it."""
    return line.encode("utf-8", "backslashreplace")
