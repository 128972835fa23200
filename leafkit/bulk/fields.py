"""Which columns of the documents an engine gets by type, and what is left of a payload."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

WORDS = "words"
# These are searched by words, whatever else is known of them.
_SEARCHED = ("text", "title")


@dataclass(frozen=True, slots=True)
class Field:
    """A column that the engine gets by type: integer, number, boolean, text, texts (a list), or words (long text)."""

    name: str
    kind: str

    def value(self, value: Any) -> Any:
        """Return ``value`` as this field holds it, None if it is no value of the field's type."""
        if self.kind in (WORDS, "text"):
            return value if isinstance(value, str) else None
        if self.kind == "texts":
            items = [value] if isinstance(value, str) else value
            return items if isinstance(items, list) and items and all(isinstance(one, str) for one in items) else None
        if self.kind == "boolean":
            return value if isinstance(value, bool) else None
        whole = isinstance(value, int) and not isinstance(value, bool)
        if self.kind == "integer":
            return value if whole else None
        return value if whole or (isinstance(value, float) and math.isfinite(value)) else None


def choose_fields(columns: Mapping[str, str], accepts: Callable[[str], bool]) -> tuple[list[Field], list[str]]:
    """Return the fields of an engine, and the ``columns`` (types by name) whose names it does not accept.

    Text and title are searched by words. A column that holds more than one type, objects or long texts is no field.
    """
    fields = [Field(name, WORDS) for name in _SEARCHED if accepts(name)]
    rest = {name: kind for name, kind in columns.items() if name not in _SEARCHED}
    fields += [Field(name, kind) for name, kind in rest.items() if accepts(name)]
    return fields, [name for name in rest if not accepts(name)]


def split_payload(
    payload: Mapping[str, Any], fields: list[Field], clean: Callable[[Any], Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of ``fields`` in ``payload``, and the rest: both together hold the whole payload.

    A value that the engine holds otherwise (a text as a list of one, or changed by ``clean``) is in both. Numbers that
    JSON does not have become null.
    """
    typed = {}
    for field in fields:
        value = field.value(payload.get(field.name))
        if value is not None:
            typed[field.name] = clean(value)
    rest = {name: _finite(value) for name, value in payload.items() if name not in typed or typed[name] != value}
    return typed, rest


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list) else value
