"""Parse the expression of a filter, such as ``category = "linux" and (year >= 2020 or year missing)``.

From the loosest to the tightest::

    condition   = all ("or" all)*
    all         = one ("and" one)*
    one         = "not" one | "(" condition ")" | comparison
    comparison  = column ("=" | "!=" | "<" | "<=" | ">" | ">=") value
                | column ["not"] "in" "(" value ("," value)* ")"
                | column ("missing" | "exists")
    value       = "text" | 'text' | number | true | false

A column whose name is not one word is quoted like a text. In quotes, backslash escapes a quote, a backslash, and n, t,
r. Words of the language are the same in capitals.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NoReturn

from leafkit.errors import OptionError
from leafkit.filters.conditions import (
    COMPARISONS,
    DEEPEST,
    ESCAPES,
    WORDS,
    And,
    Compare,
    Condition,
    In,
    Missing,
    Not,
    Or,
    Value,
    check_size,
    joined,
)

LONGEST = 100_000  # characters of an expression
_SHOWN = 60  # characters of the expression on either side of an error
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    |(?P<name>[^\W\d][\w.]*)
    |(?P<sign><=|>=|!=|==|=|<|>|\(|\)|,)
    |(?P<end>$)
    |(?P<other>\S)
    )""",
    re.VERBOSE | re.DOTALL,
)


def parse_where(text: str) -> Condition:
    """Parse the expression ``text``; raises `OptionError` showing the position and what was expected there."""
    if len(text) > LONGEST:
        raise OptionError(f"the filter has {len(text):,} characters; expected at most {LONGEST:,}.")
    parser = _Parser(text)
    condition = parser.condition(DEEPEST)
    if parser.token.kind != "end":
        parser.fail("'and', 'or' or the end of the filter")
    check_size(condition)
    return condition


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


class _Parser:
    """Reads ``text`` one token ahead: ``token`` is the next one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = 0
        self.token = self._next()

    def condition(self, levels: int) -> Condition:
        """Parse conditions joined by 'or', which hold at most ``levels`` levels of parentheses and 'not'."""
        parts = [self._all(levels)]
        while self._take("or"):
            parts.append(self._all(levels))
        return joined(Or, parts)

    def _all(self, levels: int) -> Condition:
        parts = [self._one(levels)]
        while self._take("and"):
            parts.append(self._one(levels))
        return joined(And, parts)

    def _one(self, levels: int) -> Condition:
        if not levels:
            self.fail(f"a filter that is nested at most {DEEPEST} levels deep")
        if self._take("not"):
            return Not(self._one(levels - 1))
        if self._take("("):
            condition = self.condition(levels - 1)
            self._expect(")", "'and', 'or' or ')'")
            return condition
        return self._comparison()

    def _comparison(self) -> Condition:
        column = self._column()
        if self._take("missing"):
            return Missing(column)
        if self._take("exists"):
            return Not(Missing(column))
        negated = self._take("not")
        if self._take("in"):
            found = In(column, self._values())
            return Not(found) if negated else found
        if negated:
            self.fail("'in' after 'not'")
        operator = self.token.text.replace("==", "=")
        if self.token.kind != "sign" or operator not in (*COMPARISONS, "!="):
            self.fail(f"{', '.join(COMPARISONS)}, !=, 'in', 'missing' or 'exists' after the column {column[:_SHOWN]!r}")
        self._advance()
        value = self._value()
        return Not(Compare(column, "=", value)) if operator == "!=" else Compare(column, operator, value)

    def _column(self) -> str:
        token = self.token
        if token.kind == "text":
            self._advance()
            return _unquoted(token.text)
        if token.kind != "name" or token.text.lower() in WORDS:
            self.fail("the name of a column, 'not' or '('")
        self._advance()
        return token.text

    def _values(self) -> tuple[Value, ...]:
        self._expect("(", "'(' and values after 'in'")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._expect(")", "',' or ')'")
        return tuple(values)

    def _value(self) -> Value:
        token, value = self.token, None
        if token.kind == "text":
            value = _unquoted(token.text)
        elif token.kind == "number":
            value = self._number(token.text)
        elif token.text.lower() in ("true", "false"):
            value = token.text.lower() == "true"
        elif token.kind == "name":
            self.fail(f'a text in quotes, a number, true or false (write "{token.text[:_SHOWN]}" if it is a text)')
        if value is None:
            self.fail("a text in quotes, a number, true or false")
        self._advance()
        return value

    def _number(self, text: str) -> int | float:
        try:
            value = int(text)
        except ValueError:  # a fraction, or more digits than Python converts
            value = float(text)
        if isinstance(value, float) and not math.isfinite(value):
            self.fail("a number of at most 1.8e308")
        return value

    def _take(self, word: str) -> bool:
        """Tell whether ``word`` comes next, and go past it."""
        found = self.token.kind in ("name", "sign") and self.token.text.lower() == word
        if found:
            self._advance()
        return found

    def _expect(self, sign: str, expected: str) -> None:
        if not self._take(sign):
            self.fail(expected)

    def _advance(self) -> None:
        self.token = self._next()

    def _next(self) -> _Token:
        match = _TOKEN.match(self._text, self._end)
        if match is None or match.lastgroup is None:  # no expression reaches this: the end matches after white space
            return _Token("end", "", len(self._text))
        self._end = match.end()
        return _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))

    def fail(self, expected: str) -> NoReturn:
        """Raise `OptionError`: something else than ``expected`` comes next."""
        at, got = self.token.start, self.token.text
        shown = "the end" if self.token.kind == "end" else repr(got[:_SHOWN])
        if got in ("'", '"'):
            shown, expected = f"{got} without an end", "a text with a quote on either side"
        first = max(0, at - _SHOWN)
        line, caret = re.sub(r"\s", " ", self._text[first : at + _SHOWN]), " " * (at - first) + "^"
        problem = f"the filter is wrong at character {at + 1}: got {shown}; expected {expected}."
        raise OptionError(f"{problem}\n  {line}\n  {caret}")


def _unquoted(quoted: str) -> str:
    characters = {escape: character for character, escape in ESCAPES.items()}
    return re.sub(r"\\(.)", lambda match: characters.get(match[1], match[0]), quoted[1:-1], flags=re.DOTALL)
