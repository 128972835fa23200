"""`pull`: build an index of the documents and vectors that an engine holds."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy

from leafkit.engines.contents import Contents
from leafkit.engines.engine import Engine
from leafkit.engines.open import open_engine
from leafkit.engines.url import EngineUrl
from leafkit.errors import EngineError, OptionError, TextError
from leafkit.files.json_file import parse_json_object
from leafkit.files.options import OverwriteOptions
from leafkit.files.progress import progress
from leafkit.index.engine_options import EngineOptions
from leafkit.index.ladder import Students, plan_ladder
from leafkit.index.new_package import check_output, plan_package, write_package
from leafkit.index.options import BuildOptions
from leafkit.options import options_of, takes
from leafkit.search.documents import Document
from leafkit.space import Space
from leafkit.types import Float32, Role
from leafkit.vectors.check import check_vectors

log = logging.getLogger("leafkit")


@takes(EngineOptions, BuildOptions, OverwriteOptions)
def pull(engine: str, out: str | Path, *, student: Students = None, **options: Any) -> Path:
    """Build an index at ``out`` of what the ``engine`` at that address holds, and return its path.

    student: the student or students that encode queries, as for `leafkit.build_index`.

    The index has the engine's vector space, documents and vectors. The vectors are as exact as the engine stores them.
    Raises `EngineError` if the engine cannot be reached, goes away or holds something else than leafkit wrote,
    `SpaceError` for a student of another space and `OutputError` if ``out`` is not free. A failed call leaves ``out``
    unchanged.
    """
    out, url = Path(out), EngineUrl.parse(engine)
    talk, storage = options_of(EngineOptions, options), options_of(BuildOptions, options)
    files = options_of(OverwriteOptions, options)
    check_output(out, overwrite=files.overwrite)
    rungs = plan_ladder(student, fold=storage.fold)
    with open_engine(url, timeout=talk.timeout) as opened, tempfile.TemporaryFile() as spool:
        contents = known_contents(opened, url)
        _check_truncated(contents, storage, url)
        plan = plan_package(contents.space, rungs, **{**storage.only(BuildOptions), "dim": storage.dim or contents.dim})
        encoder = _Spooled(contents, spool, url)
        documents = encoder.documents(opened, talk.batch)
        return write_package(documents, encoder, out, plan, overwrite=files.overwrite, teacher=None)


def known_contents(engine: Engine, url: EngineUrl) -> Contents:
    """Return the record of ``engine``; raises `EngineError` if there is nothing at ``url``."""
    contents = engine.contents()
    if contents is None:
        raise EngineError(f"{url} does not exist. Write it with: leafkit push INDEX ADDRESS")
    if not contents.complete:
        log.warning("%s is not complete: a push was interrupted, or is running", url)
    return contents


def _check_truncated(contents: Contents, storage: BuildOptions, url: EngineUrl) -> None:
    """Raise `OptionError` if ``storage`` needs components that the engine does not hold."""
    if contents.dim < contents.space.dim and (storage.rotate or storage.fold or (storage.dim or 0) > contents.dim):
        raise OptionError(
            f"{url} holds only the first {contents.dim} of {contents.space.dim} components. Leave out rotate, fold and "
            f"a dim above {contents.dim}."
        )


class _Spooled:
    """An encoder that gives back the vectors of documents in the order in which they were read from the engine."""

    signals = frozenset({"embeddings"})

    def __init__(self, contents: Contents, spool: BinaryIO, url: EngineUrl) -> None:
        self.space: Space = contents.space
        self._dim, self._spool, self._url = contents.dim, spool, url
        self._done = 0

    def documents(self, engine: Engine, size: int) -> Iterator[Document]:
        """Yield the documents of ``engine``, and keep their vectors."""
        with progress("pull", total=engine.count(), unit="documents") as bar:
            for rows in engine.read(size):
                vectors = check_vectors(
                    rows.vectors, rows=len(rows), dim=self._dim, source=f"the vectors of {self._url}"
                )
                self._spool.write(numpy.ascontiguousarray(vectors).data)
                for name, payload in zip(rows.ids, rows.payloads, strict=True):
                    yield _document(name, payload, self._url)
                bar.update(len(rows))

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of the next documents, (rows, space.dim): zeros follow a truncated vector."""
        width = self._dim * 4
        self._spool.seek(self._done * width)
        self._done += len(texts)
        content = self._spool.read(len(texts) * width)
        vectors = numpy.zeros((len(texts), self.space.dim), dtype=numpy.float32)
        vectors[:, : self._dim] = numpy.frombuffer(content, dtype=numpy.float32).reshape(len(texts), self._dim)
        return vectors


def _document(name: str, payload: str, url: EngineUrl) -> Document:
    try:
        content = parse_json_object(payload)
    except ValueError as error:
        raise EngineError(
            f"the payload of {name!r:.100} in {url} is damaged ({error}). Push the index again."
        ) from error
    if not isinstance(content.get("text"), str) or not isinstance(content.get("title", ""), str):
        raise TextError(f"{name!r:.100} in {url} has no text, or a title that is none. An index needs the text.")
    return Document(name, content)
