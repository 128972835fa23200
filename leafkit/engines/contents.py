"""What leafkit records in an engine beside the rows: which space their vectors belong to, and what filters may name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leafkit.errors import EngineError
from leafkit.files.json_file import parse_json_object
from leafkit.filters.schema import Schema
from leafkit.space import Space

FORMAT = "leafkit-engine"
VERSION = 1
MOST_CHARACTERS = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The record of a table or collection.

    space: the vector space. Vectors are unit prefixes of ``dim`` components of the space's vectors.
    dim: the width of the vectors in the engine.
    precision: how the engine stores them, one of the engine's `Engine.precisions`.
    schema: the columns that filters may name.
    complete: False from the start of a push to its end.
    """

    space: Space
    dim: int
    precision: str
    schema: Schema
    complete: bool

    def dump(self) -> str:
        """Return the record as one line of JSON in ASCII; `read_contents` reads it back."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields |= {"space": self.space.to_json(), "schema": self.schema.to_json()}
        return json.dumps({"format": FORMAT, "version": VERSION, **fields})


def read_contents(text: object, *, where: str, precisions: Sequence[str]) -> Contents:
    """Return the record that `Contents.dump` wrote; ``where`` names the table or collection in messages.

    text: the record, or None if there is something without one.
    precisions: those that the engine can store.

    Raises `EngineError` for what leafkit did not write, and for a record of another version.
    """
    content = _parse(text)
    if content is None:
        raise EngineError(
            f"{where} exists, and leafkit did not write it, so it is left alone. Choose another name after the #."
        )
    if content.get("version") != VERSION:
        raise EngineError(
            f"{where} has version {content.get('version')!r:.40} of the record; expected {VERSION}. "
            "Use the version of leafkit that wrote it, or push into another table or collection."
        )
    try:
        return _contents(content, where, precisions)
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError(
            f"the record of {where} is damaged ({error}). Push into another table or collection."
        ) from error


def _parse(text: object) -> dict[str, Any] | None:
    if not isinstance(text, str) or len(text) > MOST_CHARACTERS:
        return None
    try:
        content = parse_json_object(text.encode())
    except ValueError:
        return None
    return content if content.get("format") == FORMAT else None


def _contents(content: Mapping[str, Any], where: str, precisions: Sequence[str]) -> Contents:
    space = Space.from_json(content["space"], where=f"the record of {where}")
    dim, precision = content["dim"], content["precision"]
    if type(dim) is not int or not 1 <= dim <= space.dim or precision not in precisions:
        raise ValueError(f"dim is {dim!r}, precision {precision!r:.40}")
    return Contents(
        space=space,
        dim=dim,
        precision=precision,
        schema=Schema.from_json(content["schema"]),
        complete=content["complete"] is True,
    )
