"""A corpus of real sentences: the documents of the sources cut into sentences, each text once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from leafkit.errors import TextError
from leafkit.files.atomic import write_file
from leafkit.files.digest import text_key
from leafkit.texts.read import read_texts

# In characters: longer than a heading or a number, shorter than half a paragraph.
SHORTEST, LONGEST = 20, 300
_ENDS = re.compile(r"(?<=[.!?])\s+|\n")


def write_sentences(sources: Sequence[str], files: Sequence[tuple[Path, int]]) -> None:
    """Write the distinct sentences of the documents of ``sources`` to ``files``, each with its number of rows.

    A row has an id, a text and the source. Raises `TextError` if the sources have too few sentences.
    """
    rows = enumerate(_sentences(sources))
    for path, count in files:
        lines = [
            json.dumps({"id": f"s{number}", "text": text, "source": source}, ensure_ascii=False) + "\n"
            for number, (text, source) in islice(rows, count)
        ]
        if len(lines) < count:
            raise TextError(f"only {len(lines):,} sentences are left for {path.name}; expected {count:,}. Add sources.")
        write_file(path, "".join(lines))


def write_queries(sources: Sequence[str], path: Path, count: int) -> None:
    """Write the first ``count`` queries of ``sources``, one a line."""
    found = (text.text for text in read_texts(list(sources)) if text.role == "query")
    queries = [query.replace("\n", " ") for query in islice(found, count)]
    if len(queries) < count:
        raise TextError(f"the sources have {len(queries):,} queries; expected {count:,}. Add sources.")
    write_file(path, "".join(f"{query}\n" for query in queries))


def _sentences(sources: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each distinct sentence of the documents of ``sources``, with the name of its source."""
    seen: set[bytes] = set()
    for text in read_texts(list(sources)):
        if text.role == "query":
            continue
        for piece in map(str.strip, _ENDS.split(text.text)):
            key = text_key("", piece)
            if SHORTEST <= len(piece) <= LONGEST and key not in seen:
                seen.add(key)
                yield piece, str(text.payload.get("source", "documents"))
