"""The conditions of a filter, and how they are written as an expression."""

from __future__ import annotations

import re
from dataclasses import dataclass

from leafkit.errors import OptionError

Value = str | int | float | bool

COMPARISONS = ("=", "<", "<=", ">", ">=")
# Conditions inside each other. Python's own limit on recursion depends on the caller.
DEEPEST = 50
# The most comparisons, texts and numbers of one filter. Each comparison visits all rows.
MOST_PARTS = 1_000
MOST_VALUES = 10_000
# How the characters of a text are written inside quotes. The backslash comes first: the others add some.
ESCAPES = {"\\": "\\", '"': '"', "'": "'", "\n": "n", "\t": "t", "\r": "r"}

# The words of the language: a column with such a name is quoted.
WORDS = frozenset(["and", "or", "not", "in", "missing", "exists", "true", "false"])
_PLAIN_NAME = re.compile(r"[^\W\d][\w.]*")


@dataclass(frozen=True, slots=True)
class Compare:
    """True where the value of ``column``, or one element of a list, compares with ``value`` as ``operator`` says."""

    column: str
    operator: str
    value: Value

    def __str__(self) -> str:
        return f"{_quoted_name(self.column)} {self.operator} {_quoted(self.value)}"


@dataclass(frozen=True, slots=True)
class In:
    """True where the value of ``column``, or one element of a list, equals one of ``values``."""

    column: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{_quoted_name(self.column)} in ({', '.join(map(_quoted, self.values))})"


@dataclass(frozen=True, slots=True)
class Missing:
    """True for documents without a value in ``column``: none, null, not a number, or an empty list."""

    column: str

    def __str__(self) -> str:
        return f"{_quoted_name(self.column)} missing"


@dataclass(frozen=True, slots=True)
class Not:
    """True where ``part`` is false."""

    part: Condition

    def __str__(self) -> str:
        return f"not {_inside(self.part)}"


@dataclass(frozen=True, slots=True)
class And:
    """True where all of two or more ``parts`` are true."""

    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " and ".join(map(_inside, self.parts))


@dataclass(frozen=True, slots=True)
class Or:
    """True where one of two or more ``parts`` is true."""

    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " or ".join(map(_inside, self.parts))


Condition = Compare | In | Missing | Not | And | Or


def joined(kind: type[And | Or], parts: list[Condition]) -> Condition:
    """Return the condition that combines ``parts``, which is the part itself if there is only one."""
    return parts[0] if len(parts) == 1 else kind(tuple(parts))


def check_size(condition: Condition) -> None:
    """Raise `OptionError` for a condition of more than 1,000 comparisons or 10,000 values."""
    parts = values = 0
    left = [condition]
    while left:
        part = left.pop()
        if isinstance(part, And | Or):
            left.extend(part.parts)
        elif isinstance(part, Not):
            left.append(part.part)
        else:
            parts += 1
            values += len(part.values) if isinstance(part, In) else 1
    if parts > MOST_PARTS or values > MOST_VALUES:
        raise OptionError(
            f"the filter has {parts} comparisons and {values} values; expected at most {MOST_PARTS:,} and "
            f"{MOST_VALUES:,}. Search with allow=IDS instead."
        )


def _inside(part: Condition) -> str:
    return f"({part})" if isinstance(part, And | Or) else str(part)


def _quoted_name(name: str) -> str:
    plain = _PLAIN_NAME.fullmatch(name) is not None and name.lower() not in WORDS
    return name if plain else _quoted(name)


def _quoted(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    for character, escape in ESCAPES.items():
        value = value.replace(character, f"\\{escape}")
    return f'"{value}"'
