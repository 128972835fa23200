"""Queries of a log, one after the other: a file of any size, or any iterable of texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from leafkit.errors import InputError, OptionError, TextError
from leafkit.texts.lines import not_utf8, read_lines

Queries = str | Path | Iterable[str]
"""The path of a file with one query per line (plain, .gz or .zst; ``-`` is stdin), or the texts themselves."""


def read_queries(queries: Queries) -> Iterator[str]:
    """Return an iterator of ``queries`` without the space around each; a blank one is empty.

    Raises `InputError` for a file that does not exist. The iterator raises `TextError` for a file that cannot be read
    as UTF-8, and `OptionError` for an item that is not a text.
    """
    if not isinstance(queries, str | Path):
        return _texts(queries)
    path = Path("/dev/stdin" if str(queries) == "-" else queries)
    if not path.exists():
        raise InputError(f"{path} does not exist. Give a file with one query per line, or - for stdin.")
    return _lines(path)


def _texts(queries: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(queries, start=1):
        if not isinstance(text, str):
            raise OptionError(f"query {number} is {text!r:.80}; expected a text.")
        yield text.strip()


def _lines(path: Path) -> Iterator[str]:
    for number, line in read_lines(path):
        try:
            yield line.decode().strip()
        except UnicodeDecodeError as error:
            raise TextError(f"{path}:{number}: {not_utf8(error)}.") from error
