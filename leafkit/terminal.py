"""Text for people: characters that could control a terminal or reorder its lines are made visible.

Documents, ids and error messages may quote data of strangers. The escape character starts commands to the terminal
(change the title, clear the screen), and bidirectional controls show a line in another order than it has.
"""

from __future__ import annotations

import json
import re
from typing import Any, TextIO

# C0 and C1 controls and DEL, but not tab and newline; marks, embeddings, overrides and isolates of the bidirectional
# algorithm; the Unicode line separators; halves of surrogate pairs, which no stream can write.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# A password before the host of an address, or as a parameter after the question mark.
_SECRET = re.compile(
    r"([a-z][a-z0-9+.-]*://[^\s/@:]*:)(?:[^\s/]*|[^\s@]*)(?=@)|([?&;](?:\w*password|\w*token|\w*api_?key)=)[^\s&;#]+",
    re.I,
)


def printable(text: str) -> str:
    """Return ``text`` with every unsafe character replaced by its escape, for example ``\\x1b`` or ``\\u202e``."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shown(text: str, stream: TextIO) -> str:
    """Return ``text`` as it should be written to ``stream``: printable on a terminal, unchanged elsewhere."""
    return printable(text) if stream.isatty() else text


def without_passwords(text: str) -> str:
    """Return ``text`` with ``***`` in place of the passwords and keys in the addresses of servers."""
    return _SECRET.sub(lambda found: f"{found[1] or found[2]}***", text)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return ``value`` as JSON without ASCII escapes, except for unsafe characters. The JSON reads back exactly."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
