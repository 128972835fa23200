"""What a site holds of the documents: their vectors as whole numbers, and what the page shows of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.search.arrays import blocks_of
from leafkit.search.documents import Document, Documents
from leafkit.search.vector_search import VectorSearch
from leafkit.types import Float32, Int64

# Only these become links: an address such as javascript:... would run in the page.
_WEB_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
DTYPES = {"int16": numpy.dtype("<i2"), "int8": numpy.dtype("i1")}


def encode(vectors: Float32, precision: str) -> NDArray[Any]:
    """Round ``vectors`` (rows, dim) to ``int16`` or ``int8``, each row scaled so that its largest component fills it.

    A cosine does not depend on the scale, so it is not stored (`leafkit.search.rescoring` does the same). On the 1,000
    help pages and their 507 questions, 5,069 of 5,070 hits stay with int16 and 5,001 with int8.
    """
    dtype = DTYPES[precision]
    largest = numpy.abs(vectors).max(axis=1, keepdims=True, initial=numpy.finfo(numpy.float32).tiny)
    return numpy.rint(vectors * (numpy.iinfo(dtype).max / largest)).astype(dtype)


def write_vectors(path: Path, search: VectorSearch, rows: Int64, precision: str) -> None:
    """Write the vectors of ``rows`` to ``path``, one after the other, each from the most exact one of the index."""
    with open(path, "wb") as file:
        for block in blocks_of(rows):
            file.write(encode(search.vectors(block), precision).tobytes())


def write_documents(path: Path, documents: Documents, rows: Int64, characters: int) -> bool:
    """Write ``[id, title, snippet, url]`` of each of ``rows`` to ``path``; returns whether any title or text is there.

    The snippet is the start of the text, ``characters`` long, and the url is empty unless it begins with http. Other
    columns of the documents stay out of the site.
    """
    found = False
    with open(path, "wb") as file:
        for number, row in enumerate(rows.tolist()):
            document = documents[row]
            title, text, url = (_words(document, column) for column in ("title", "text", "url"))
            found = found or bool(title or text)
            link = url if _WEB_ADDRESS.match(url) else ""
            line = json.dumps([document.id, title, _start(text, characters), link], ensure_ascii=False)
            # Half of a surrogate pair, which UTF-8 cannot hold, becomes the escape that JSON has for it.
            file.write((",\n" if number else "[\n").encode() + line.encode("utf-8", "backslashreplace"))
        file.write(b"\n]\n")
    return found


def _words(document: Document, column: str) -> str:
    value = document.payload.get(column)
    return " ".join(value.split()) if isinstance(value, str) else ""


def _start(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters].rstrip()}…"
