"""One sentence of a document in place of a query, for those who have documents and no queries."""

from __future__ import annotations

import dataclasses
import re
import zlib

from leafkit.texts.record import Text

# Characters of a sentence that can pass for a query: no heading or number, no half paragraph.
SHORTEST, LONGEST = 20, 300
# The later ones end a Chinese or Japanese sentence, which no space follows.
_ENDS = re.compile(r"(?<=[.!?\u0964])\s+|(?<=[\u3002\uff01\uff1f])|\n")


def pick_sentence(document: Text) -> Text:
    """A sentence or the title of ``document`` as a query: always the same, and in a corpus from all over its documents.

    A document that has none of 20 to 300 characters gives the longest that is shorter, or else its beginning.
    """
    pieces = [document.title.strip(), *(piece.strip() for piece in _ENDS.split(document.text))]
    short = [piece for piece in pieces if len(piece) <= LONGEST]
    sentences = [piece for piece in short if len(piece) >= SHORTEST]
    # By its own text, so that neither order nor number of the documents changes it.
    drawn = zlib.crc32(document.full_text.encode()) % max(len(sentences), 1)
    text = sentences[drawn] if sentences else max(short, key=len, default="") or document.full_text[:LONGEST].strip()
    return dataclasses.replace(document, text=text, title="", role="query")
