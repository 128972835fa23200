"""Check a regular expression of a tokenizer: only forms that need little time on any text."""

from __future__ import annotations

import itertools
import math
import re

# A class of characters or an escaped one; none of them refers to what was matched before.
_ESCAPE = re.compile(r"\\(?:[pP]\{\^?\w{1,40}\}|x\{[0-9a-fA-F]{1,6}\}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^0-9kgpPxuKRX])")
_CLASS = re.compile(r"\[[^\[\]]*\]")
_GROUP = re.compile(r"\(\?(?:[imsx]*:|=|!)|\((?!\?)")
# One quantifier, made lazy or possessive or not. An interval followed by + would repeat the interval.
_QUANTIFIER = re.compile(r"[*+?][?+]?|\{(?P<least>\d{0,4})(?P<comma>,?)(?P<most>\d{0,4})\}\??")
_INNERMOST = re.compile(r"\(([^()]*)\)")
_ANY = "\0"  # stands for one character of a class
_LENGTH = 2000
_UNBOUNDED = 1000.0
_MOST_WAYS = 4e6  # two unbounded and two optional parts


def check_regex(pattern: str) -> None:
    """Raise ValueError for a ``pattern`` that might need seconds on a text of some hundred characters.

    Refused are repeated groups, references and lookbehind, and alternatives with many repetitions or choices. The
    expressions of the tokenizers of GPT, Llama, Qwen, DeepSeek, Bloom and XLM-R pass.
    """
    if len(pattern) > _LENGTH:
        raise ValueError(f"it has a regular expression of {len(pattern)} characters; expected at most {_LENGTH}")
    plain = _replaced(_CLASS, _ESCAPE.sub(_ANY, pattern))
    plain = _GROUP.sub("(", plain)
    if re.search(r"[\[\]\\]|\(\?|\)[*+{]", plain) or any(_ways(part) > _MOST_WAYS for part in _alternatives(plain)):
        raise ValueError(f"it has the regular expression {pattern[:200]!r}, which may need too much time")


def _replaced(expression: re.Pattern[str], text: str) -> str:
    """Replace what ``expression`` matches by `_ANY`, from the inside out."""
    while (shorter := expression.sub(_ANY, text)) != text:
        text = shorter
    return text


def _alternatives(plain: str) -> list[str]:
    """Split a pattern at the bars that are in no group."""
    parts, depth, start = [], 0, 0
    for position, letter in enumerate(plain):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "|" and depth == 0:
            parts.append(plain[start:position])
            start = position + 1
    return [*parts, plain[start:]]


def _ways(part: str) -> float:
    """Return in how many ways the repetitions and choices of ``part`` can share a text of some hundred characters."""
    ways, end = 1.0, -1
    for match in _QUANTIFIER.finditer(part):
        if match.start() == end:
            return math.inf  # a repeated repetition
        end = match.end()
        if match[0][0] == "?":
            ways *= 2
        elif match[0][0] in "*+" or (match["comma"] and not match["most"]):
            ways *= _UNBOUNDED
        else:
            ways *= 1 + float(match["most"] or 0)
    while match := _INNERMOST.search(part):
        ways *= _choices(match[1].split("|"))
        part = part[: match.start()] + _ANY + part[match.end() :]
    return ways


def _choices(parts: list[str]) -> int:
    """Return how many of the alternatives ``parts`` of a group can match one text."""
    parts.sort()
    literal = all(re.fullmatch(r"[\w\s'\"-]+", part, re.ASCII) for part in parts)
    distinct = not any(right.startswith(left) for left, right in itertools.pairwise(parts))
    return 1 if literal and distinct else len(parts)
