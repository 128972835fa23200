"""`leafkit.write_bulk_files`: from an index to a folder that another search engine loads."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from leafkit.bulk.elastic import Elasticsearch, OpenSearch
from leafkit.bulk.fields import choose_fields, split_payload
from leafkit.bulk.format import BulkFormat
from leafkit.bulk.options import BulkOptions
from leafkit.bulk.query import page, query_program
from leafkit.bulk.vespa import Vespa
from leafkit.bulk.weaviate import Weaviate
from leafkit.errors import InputError, OptionError, nearest
from leafkit.files.atomic import atomic_folder, check_output_folder, write_file, write_json
from leafkit.files.options import OverwriteOptions
from leafkit.files.progress import progress
from leafkit.options import options_of, takes
from leafkit.search.arrays import blocks_of
from leafkit.search.package import Package, open_package, retry_during_update
from leafkit.vectors.cosine import unit_prefix

MARKER = "leafkit-bulk.json"
FORMAT, VERSION = "leafkit-bulk", 1
FORMATS: dict[str, type[BulkFormat]] = {
    "elasticsearch": Elasticsearch,
    "opensearch": OpenSearch,
    "vespa": Vespa,
    "weaviate": Weaviate,
}
_NO_STUDENT = "STUDENT"

log = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class BulkFiles:
    """Bulk files that were written: their folder, the bytes of each by name, and the number of documents."""

    folder: Path
    files: dict[str, int]
    documents: int


@takes(BulkOptions, OverwriteOptions)
def write_bulk_files(index: str | Path, engine: str, out: str | Path, **options: Any) -> BulkFiles:
    """Write the documents of an index to the folder ``out`` as bulk files of another search engine.

    index: an index folder. Its vectors are scaled to length 1 and written with 9 digits, so that every float32 stays
        bit for bit. Removed documents are left out.
    engine: elasticsearch, opensearch, vespa or weaviate.

    Beside the bulk files the folder holds what tells the engine about the index, with the space of the vectors in it;
    README.md with the commands to load and to search; and query.py, which prints a search. The documents are read one
    block at a time, so that an index may be larger than memory.

    Raises `OptionError` for an unknown engine and for a name or an id that the engine does not take, `InputError` for
    an index without documents, and `OutputError` if ``out`` holds anything but bulk files that may be overwritten.
    """
    chosen, output = options_of(BulkOptions, options), options_of(OverwriteOptions, options)
    if engine not in FORMATS:
        raise OptionError(f"engine is {engine!r}; {nearest(engine, FORMATS)}.".replace("?.", "?"))
    index, out = Path(index), Path(out)
    check_output_folder(out, marker=MARKER, overwrite=output.overwrite)
    package = retry_during_update(index, lambda: open_package(index, verify=True))
    with package.files:
        form, not_fields = _format(FORMATS[engine], package, chosen)
        for name in not_fields:
            log.warning("%s does not accept the name of the column %r, so it cannot filter by it", form.engine, name)
        with atomic_folder(out, marker=MARKER, overwrite=output.overwrite) as folder:
            with closing(_Parts(folder, form, int(chosen.megabytes * 1e6))) as parts:
                documents = _write_documents(package, form, parts)
            for name, text in form.schema_files().items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                write_file(folder / name, text)
            _write_guide(folder, package, form, documents, chosen.megabytes, not_fields)
            facts = {"engine": engine, "name": form.name, "space": form.space.to_json(), "dim": form.dim}
            facts |= {"documents": documents, "files": parts.written}
            write_json(folder / MARKER, {"format": FORMAT, "version": VERSION, **facts})
    sizes = {name: int(one["bytes"]) for name, one in parts.written.items()}
    return BulkFiles(folder=out, files=sizes, documents=documents)


def _format(kind: type[BulkFormat], package: Package, options: BulkOptions) -> tuple[BulkFormat, list[str]]:
    """Return the format of the engine ``kind`` for ``package``, and the columns that it cannot filter by."""
    name = options.name or kind.default_name(package.folder.resolve().stem)
    space, dim = package.manifest.space, package.manifest.dim
    columns = package.columns()
    form = kind(name=name, space=space, dim=dim)
    fields, not_fields = choose_fields({} if columns is None else columns.schema.types, form.accepts)
    return kind(name=name, space=space, dim=dim, fields=fields), not_fields


def _write_documents(package: Package, form: BulkFormat, parts: _Parts) -> int:
    """Write all documents of ``package`` and return their number."""
    search, documents, fields = package.vector_search(), package.documents(), list(form.fields)
    rows = search.live_rows()
    if not len(rows):
        raise InputError(f"the index {package.folder} has no documents.")
    with progress("writing", total=len(rows), unit="documents") as bar:
        for block in blocks_of(rows, size=4096):
            vectors = unit_prefix(search.vectors(block), form.dim, source=str(package.folder))
            for row, vector in zip(block.tolist(), _numbers(vectors), strict=True):
                document = documents[row]
                typed, rest = split_payload(document.payload, fields, form.clean)
                parts.add(form.record(document.id, typed, rest, vector))
            bar.update(len(block))
    return len(rows)


def _numbers(vectors: Any) -> Iterator[str]:
    """Yield each row of ``vectors`` as a JSON list. Nine digits tell any two float32 apart."""
    line = f"[{','.join(['%.9g'] * vectors.shape[1])}]"
    return (line % tuple(row) for row in vectors.tolist())


def _write_guide(
    folder: Path, package: Package, form: BulkFormat, documents: int, megabytes: float, not_fields: list[str]
) -> None:
    rungs = package.manifest.rungs
    student = str((package.folder / rungs[-1].folder).resolve()) if rungs else _NO_STUDENT
    write_file(folder / "query.py", query_program(form, student))
    text = page(
        form,
        student=student,
        index=str(package.folder),
        documents=documents,
        megabytes=megabytes,
        not_fields=not_fields,
    )
    write_file(folder / "README.md", text)


@dataclass
class _Parts:
    """Bulk files of at most ``limit`` bytes, written one after the other. ``written`` has size and hash of each.

    A document that is larger alone gets a file of its own.
    """

    folder: Path
    form: BulkFormat
    limit: int
    written: dict[str, dict[str, Any]] = field(default_factory=dict)
    _file: BinaryIO | None = None
    _size: int = 0
    _digest: Any = None

    def add(self, record: bytes) -> None:
        """Append ``record``, in a new file if the open one would become too large."""
        extra = len(self.form.separator) + len(record) + len(self.form.closing)
        if self._file is not None and self._size + extra > self.limit:
            self.close()
        if self._file is None:
            self._open()
            if len(self.form.opening) + len(record) + len(self.form.closing) > self.limit:
                log.warning("%s has one document that is larger than a file may be", list(self.written)[-1])
            self._write(self.form.opening)
        else:
            self._write(self.form.separator)
        self._write(record)

    def close(self) -> None:
        """End the open file."""
        if self._file is not None:
            self._write(self.form.closing)
            self._file.close()
            self._file = None
            self.written[list(self.written)[-1]] = {"bytes": self._size, "sha256": self._digest.hexdigest()}

    def _open(self) -> None:
        word, suffix = self.form.files
        name = f"{word}-{len(self.written) + 1:06d}.{suffix}"
        self._file = open(self.folder / name, "wb")  # noqa: SIM115  # `close` closes it
        self._size, self._digest = 0, hashlib.sha256()
        self.written[name] = {}

    def _write(self, content: bytes) -> None:
        if self._file is not None:
            self._file.write(content)
            self._digest.update(content)
            self._size += len(content)
