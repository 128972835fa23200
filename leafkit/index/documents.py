"""Documents of an index: texts are read, written to disk row by row, and read back from there to be encoded.

Writing them first finds a bad row or a repeated id before anything is encoded, and keeps memory constant::

    documents = write_documents(files, read_documents(sources, ...))
    for block in encode_documents(documents, encoder): ...
"""

from __future__ import annotations

import json
import logging
from array import array
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

import numpy
from numpy.typing import NDArray

from leafkit.errors import TextError
from leafkit.files.arrays import save_array
from leafkit.files.json_file import DEEPEST, parse_json
from leafkit.files.open_files import OpenFiles
from leafkit.search.documents import KEY, Document, DocumentFiles, Documents, id_key, parse_line
from leafkit.texts.options import ReadingOptions
from leafkit.texts.read import check_texts, read_texts
from leafkit.texts.record import Text, join_title
from leafkit.texts.table import Sources
from leafkit.types import Encoder, Float32, Int64
from leafkit.vectors.cached import CachedEncoder
from leafkit.vectors.check import check_vectors

# Rows encoded, mapped and spooled at a time: 100 MB at 384 components, whatever the size of the corpus.
BLOCK = 65_536

log = logging.getLogger("leafkit")


def read_documents(sources: Sources, reading: ReadingOptions) -> Iterator[Document]:
    """Read every document of ``sources``; texts with the role query are skipped and counted in the log.

    Raises `TextError`: at once for a missing source and for a bad row near the start, else when the row is reached.
    """
    paths = [sources] if isinstance(sources, str | PathLike) else sources
    # The texts of a .npy vectors file are in the .jsonl file of the same name.
    paths = [Path(path).with_suffix(".jsonl") if str(path).endswith(".npy") else path for path in paths]
    check_texts(paths, reading)
    texts = read_texts(paths, role="document", unique_ids=reading.skip_bad, **reading.only(ReadingOptions))
    return _documents(texts)


def write_documents(files: DocumentFiles, documents: Iterable[Document]) -> Documents:
    """Write ``documents`` in order and open what was written; raises `TextError` for an id that occurs twice."""
    with DocumentWriter(files) as writer:
        for document in documents:
            writer.add(document)
        writer.finish()
    with OpenFiles(files.lines.parent, follow_links=False) as opened:
        return Documents(files, opened)


def encode_documents(documents: Documents, encoder: Encoder) -> Iterator[Float32]:
    """Yield the vectors of ``documents`` (rows, encoder.space.dim), in order and a block of 65,536 rows at a time.

    A document is encoded as title and text, in the document role. Raises `VectorError` for vectors that are missing,
    not finite, zero or of another width.
    """
    total = len(documents)
    for start in range(0, total, BLOCK):
        end = min(start + BLOCK, total)
        texts = [text_of(documents[row]) for row in range(start, end)]
        if isinstance(encoder, CachedEncoder):
            label = "documents" if total <= BLOCK else f"documents {start + 1:,} to {end:,} of {total:,}"
            yield encoder.store.gather(encoder.store.fill(encoder.teacher, texts, "document", label=label))
        else:
            vectors = encoder.encode(texts, "document")
            source = "the documents' vectors"
            yield check_vectors(vectors, rows=len(texts), dim=encoder.space.dim, source=source, first=start)


class DocumentWriter:
    """Write documents row by row; `finish` writes the offsets and the sorted keys. Takes 24 bytes of memory per row."""

    def __init__(self, files: DocumentFiles) -> None:
        """Start new ``files``, replacing existing ones."""
        self._files = files
        self._lines = open(files.lines, "wb")  # noqa: SIM115  # closed by finish or __exit__
        self._lengths = array("q")
        self._keys = bytearray()

    def __enter__(self) -> DocumentWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def add(self, document: Document) -> None:
        """Append one document; raises `TextError` if its payload cannot be written as JSON."""
        line = _json_line(document)
        self._lines.write(line)
        self._lengths.append(len(line))
        self._keys += id_key(document.id)

    def copy(self, documents: Documents, rows: Int64) -> None:
        """Append the ascending ``rows`` of other documents, byte for byte."""
        for piece in documents.lines(rows):
            self._lines.write(piece)
        self._lengths.frombytes(documents.lengths()[rows].astype(numpy.int64).tobytes())
        self._keys += documents.keys()[rows].tobytes()

    def finish(self, live: NDArray[numpy.bool_] | None = None) -> None:
        """Write the offsets, and the sorted keys of the ``live`` rows (None: of all rows).

        Raises `TextError` naming the ids that occur twice.
        """
        self._lines.close()
        lengths = numpy.array(self._lengths, dtype=numpy.int64)
        offsets = numpy.concatenate([[0], numpy.cumsum(lengths)]).astype(numpy.int64)
        save_array(self._files.offsets, offsets)
        keys = numpy.frombuffer(bytes(self._keys), dtype=KEY)
        rows = numpy.arange(len(keys)) if live is None else numpy.flatnonzero(live)
        rows = rows[numpy.argsort(keys[rows], kind="stable")]
        keys = keys[rows]
        repeated = rows[1:][keys[1:] == keys[:-1]]
        if len(repeated):
            raise TextError(_repeated_ids(self._files.lines, offsets, numpy.sort(repeated)))
        save_array(self._files.keys, keys)
        save_array(self._files.rows, rows.astype(numpy.int64))


def _documents(texts: Iterator[Text]) -> Iterator[Document]:
    queries = 0
    for text in texts:
        if text.role == "query":
            queries += 1
            continue
        title = {"title": text.title} if text.title else {}
        columns = {name: value for name, value in text.payload.items() if name != "text"}
        yield Document(text.id, {**title, "text": text.text, **columns})
    if queries:
        log.warning("skipped %d texts with the role query: an index holds documents only", queries)


def text_of(document: Document) -> str:
    """Return the text of ``document`` that is encoded and searched: title and text."""
    return join_title(document.payload.get("title", ""), document.payload["text"])


def _json_line(document: Document) -> bytes:
    record = {"id": document.id, "payload": dict(document.payload)}
    try:
        try:
            line = (json.dumps(record, ensure_ascii=False) + "\n").encode()
        except UnicodeEncodeError:  # half of a surrogate pair: escape it, so that the file stays UTF-8
            line = (json.dumps(record) + "\n").encode()
        if line.count(b"[") + line.count(b"{") > DEEPEST:
            parse_json(line)  # raises ValueError if the payload is nested too deeply to be read back
        return line
    except (TypeError, ValueError, RecursionError) as error:
        raise TextError(
            f"the payload of document {document.id!r} cannot be written as JSON: {error}. "
            "Use strings, numbers, booleans, null, lists and objects only."
        ) from error


def _repeated_ids(path: Path, offsets: Int64, rows: Int64) -> str:
    with open(path, "rb") as file:
        names = []
        for row in rows[:5].tolist():
            file.seek(int(offsets[row]))
            names.append(f"{parse_line(file.readline(), path).id!r} (document {row + 1})")
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"document ids must be unique, but these occur again: {', '.join(names)}{more}. Remove or rename them."
