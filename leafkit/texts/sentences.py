"""One sentence per document as a query, for users who have documents but no queries."""

from __future__ import annotations

import dataclasses
import re
import zlib

from leafkit.texts.record import Text

# Length in characters of a sentence that can serve as a query: longer than a heading or a number, shorter than half a
# paragraph.
SHORTEST, LONGEST = 20, 300
# The marks of the second group end a Chinese or Japanese sentence, which no space follows.
_ENDS = re.compile(r"(?<=[.!?\u0964])\s+|(?<=[\u3002\uff01\uff1f])|\n")


def split_sentences(text: str) -> list[str]:
    """Return the sentences of ``text`` in order, without the white space around them."""
    return [piece.strip() for piece in _ENDS.split(text)]


def pick_sentence(document: Text) -> Text:
    """Return one sentence of ``document``, or its title, as a text with the role ``query``.

    The choice is pseudo-random and depends on the document's text alone: the same document always gives the same
    sentence, and a corpus gives sentences from the beginnings, middles and ends of its documents. A document without
    a sentence of 20 to 300 characters gives its longest shorter sentence, or else its first 300 characters.
    """
    pieces = [document.title.strip(), *split_sentences(document.text)]
    short = [piece for piece in pieces if len(piece) <= LONGEST]
    sentences = [piece for piece in short if len(piece) >= SHORTEST]
    # A hash of the text instead of a random generator: adding or reordering documents changes no sentence.
    choice = zlib.crc32(document.full_text.encode()) % max(len(sentences), 1)
    text = sentences[choice] if sentences else max(short, key=len, default="") or document.full_text[:LONGEST].strip()
    return dataclasses.replace(document, text=text, title="", role="query")
