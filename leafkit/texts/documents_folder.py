"""Reading a folder of .txt and .md files: each file is one document, named by its path in the folder."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from leafkit.texts.columns import Columns, Row, RowError
from leafkit.texts.lines import LONGEST_LINE, byte_order_mark, not_utf8

SUFFIXES = (".txt", ".md")
# A heading of Markdown, which becomes the title if it is the first line: `# Title` or `# Title #`.
_HEADING = re.compile(r"#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*(?:\n|$)")


def document_files(folder: Path) -> tuple[list[Path], Counter[str]]:
    """Return the documents in ``folder`` and its subfolders, sorted by path, and the other files counted by suffix.

    Hidden files and folders are left out, and links to folders are not followed.
    """
    found: list[Path] = []
    others: Counter[str] = Counter()
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            file = Path(place, name)
            if name.startswith(".") or not file.is_file():
                continue
            if file.suffix.lower() in SUFFIXES:
                found.append(file)
            else:
                others[file.suffix.lower() or "no suffix"] += 1
    return sorted(found, key=lambda file: file.relative_to(folder).parts), others


def document_rows(folder: Path, files: list[Path], columns: Columns) -> Iterator[Row]:
    """Yield every file that is not blank, with its path in ``folder`` as id, and the heading of a .md file as title."""
    for number, file in enumerate(files, 1):
        name = file.relative_to(folder).as_posix()
        try:
            text = _content(file, name)
        except RowError as error:
            yield Row(number, {}, error)
            continue
        heading = _HEADING.match(text.lstrip()) if file.suffix.lower() == ".md" else None
        title, body = (heading[1], text.lstrip()[heading.end() :]) if heading else ("", text)
        if text.strip():
            yield Row(number, {columns.id or "id": name, "title": title, columns.text or "text": body.strip()})


def _content(file: Path, name: str) -> str:
    try:
        with open(file, "rb") as opened:
            content = opened.read(LONGEST_LINE + 1)
        if len(content) > LONGEST_LINE:
            raise RowError("too long", f"{name} is longer than {LONGEST_LINE >> 20} MiB; expected a text")
        if encoding := byte_order_mark(content):
            raise RowError("not UTF-8", f"{name} is in {encoding}; expected UTF-8")
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise RowError("unreadable", f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RowError("not UTF-8", f"{name}: {not_utf8(error)}") from None
