"""Vectors files in Parquet: a column of texts, a column of vectors, and optionally id, title and role.

The columns of texts and vectors may have any of the usual names (`TEXT_NAMES`, `VECTOR_NAMES`). A title is joined to
its text, since the vector is that of both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError, VectorError
from leafkit.extras import explain_missing_extras
from leafkit.files.atomic import atomic_file
from leafkit.texts.arrow import vector_columns
from leafkit.texts.columns import TEXT_NAMES, VECTOR_NAMES
from leafkit.texts.record import Text, join_title
from leafkit.types import Float32, Role, check_role
from leafkit.vectors.kept_columns import KeptColumns
from leafkit.vectors.vectors_file_types import BATCH, PairBatch, ReadTexts, SpaceLabel, VectorsFile, WriteRows

with explain_missing_extras():
    import pyarrow
    import pyarrow.compute
    from pyarrow import parquet

READ = 16_384  # rows read at a time: pyarrow takes several times the memory of the vectors
SPACE = b"leafkit.space"  # the key of the label in the metadata of the Parquet schema


def read(path: Path) -> VectorsFile:
    """Open the Parquet file at ``path``; raise `VectorError` if the file is damaged or a column is missing."""
    file = _open(path)
    columns = {field.name: field.type for field in file.schema_arrow}
    texts, vectors = [name for name in TEXT_NAMES if name in columns], vector_columns(file.schema_arrow)
    for names, present in ((TEXT_NAMES, texts), (VECTOR_NAMES, vectors)):
        if not present:
            raise VectorError(f"{path}: {_missing_column(names, columns)}")
    return VectorsFile(
        label=_label(file, path),
        rows=file.metadata.num_rows,
        batches=_batches(file, path, texts[0], vectors[0]),
        parts=(path,),
    )


def _missing_column(names: Sequence[str], columns: Mapping[str, Any]) -> str:
    """Return the error message, without the path, for a file in which no column has one of ``names`` and its type."""
    name = next((name for name in names if name in columns), None)
    if name is not None:
        return f"the column {name!r} has the type {columns[name]}; expected lists of numbers."
    return f"there is no column {' or '.join(map(repr, names))}. Rename one of the columns {sorted(columns)}."


def files(path: Path) -> list[Path]:
    """Return the files of the vectors file at ``path``: the Parquet file alone."""
    return [path]


def read_label(path: Path) -> SpaceLabel | None:
    """Return the label of the file at ``path``, or None if leafkit did not write the file."""
    try:
        return _label(_open(path), path)
    except VectorError:
        return None


@contextlib.contextmanager
def writer(path: Path, label: SpaceLabel, dtype: numpy.dtype, texts: ReadTexts) -> Iterator[WriteRows]:
    """See `leafkit.vectors.vectors_file.vectors_file_writer`."""
    with writer_of_columns(path, label, dtype, KeptColumns.of(texts())) as write:
        yield write


@contextlib.contextmanager
def writer_of_columns(path: Path, label: SpaceLabel, dtype: numpy.dtype, columns: KeptColumns) -> Iterator[WriteRows]:
    """Write a Parquet file whose kept ``columns`` are known already, as those of a shard are."""
    dim = label.space.dim
    element = pyarrow.float16() if dtype == numpy.float16 else pyarrow.float32()
    own = ["id", *(["title"] if columns.title else []), "text", "role"]
    fields = {**dict.fromkeys(own, pyarrow.string()), "vector": pyarrow.list_(element, dim), **columns.fields()}
    schema = pyarrow.schema(fields, metadata={SPACE: label.to_json()})
    with atomic_file(path) as file, _parquet_writer(file, schema) as parquet_writer:

        def write(texts: Sequence[Text], roles: Sequence[Role], vectors: Float32) -> None:
            flat = pyarrow.array(vectors.astype(dtype, copy=False).ravel(), type=element)
            values = {"id": [text.id for text in texts], "text": [text.text for text in texts], "role": roles}
            values["title"] = [text.title for text in texts]
            vector = pyarrow.FixedSizeListArray.from_arrays(flat, dim)
            table = [*(values[name] for name in own), vector, *columns.arrays(texts)]
            parquet_writer.write_table(pyarrow.table(table, schema=schema), row_group_size=BATCH)

        yield write


def _parquet_writer(file: BinaryIO, schema: pyarrow.Schema) -> parquet.ParquetWriter:
    # pyarrow's annotations leave out that use_dictionary also takes the names of columns.
    return parquet.ParquetWriter(file, schema, use_dictionary=cast(bool, ["role"]))


def _open(path: Path) -> parquet.ParquetFile:
    try:
        file = parquet.ParquetFile(path)
        file.schema_arrow  # noqa: B018  # parsed when it is first asked for
        return file
    except Exception as error:  # pyarrow raises many types for a damaged file
        raise VectorError(
            f"{path} is not a Parquet file, or it is truncated ({error}). Write the file again."
        ) from error


def _label(file: parquet.ParquetFile, path: Path) -> SpaceLabel | None:
    content = (file.schema_arrow.metadata or {}).get(SPACE)
    return None if content is None else SpaceLabel.from_json(content, where=str(path))


def _batches(file: parquet.ParquetFile, path: Path, text: str, vector: str) -> Iterator[PairBatch]:
    columns = [text, vector, *(name for name in ("title", "role") if name in file.schema_arrow.names)]
    start, dim = 0, None
    try:
        for batch in file.iter_batches(READ, columns=columns):
            if start + batch.num_rows > file.metadata.num_rows:
                break
            texts, roles = _texts(batch, text, path, start), _roles(batch, path)
            vectors = _vectors(batch.column(vector), path, start, dim)
            dim = vectors.shape[1]
            yield PairBatch(path=path, first=start, texts=texts, roles=roles, vectors=vectors)
            start += len(texts)
        if start != file.metadata.num_rows or not start:
            raise VectorError(
                f"{path} holds {start} rows, but its footer records {file.metadata.num_rows}; expected the same number "
                "and at least 1. Write the file again."
            )
    except (pyarrow.ArrowException, ArithmeticError, LookupError, MemoryError, OSError, ValueError) as error:
        raise VectorError(f"{path} cannot be read from row {start} on ({error}). Write the file again.") from error
    finally:
        pyarrow.default_memory_pool().release_unused()  # some hundred megabytes


def _texts(batch: Any, column: str, path: Path, start: int) -> list[str]:
    texts = batch.column(column).to_pylist()
    titles = batch.column("title").to_pylist() if "title" in batch.schema.names else [None] * len(texts)
    for row, (text, title) in enumerate(zip(texts, titles, strict=True)):
        if not isinstance(text, str):
            raise VectorError(f"{path}: the text of row {start + row} is {text!r}; expected a string.")
        if not isinstance(title, str | None):
            raise VectorError(f"{path}: the title of row {start + row} is {title!r}; expected a string.")
    return [join_title(title or "", text) for text, title in zip(texts, titles, strict=True)]


def _roles(batch: Any, path: Path) -> list[Role | None]:
    if "role" not in batch.schema.names:
        return [None] * batch.num_rows
    try:
        return [role if role is None else check_role(role) for role in batch.column("role").to_pylist()]
    except OptionError as error:
        raise VectorError(f"{path}: {error}") from error


def _vectors(column: Any, path: Path, start: int, dim: int | None) -> NDArray[Any]:
    """Return the lists of ``column`` as an array (rows, width); raise `VectorError` unless all have the same width.

    dim: the width of earlier rows; None takes the most frequent width of ``column``.
    """
    widths = numpy.asarray(pyarrow.compute.call_function("list_value_length", [column]).fill_null(0))
    filled = widths[widths > 0]
    expected = (int(numpy.bincount(filled).argmax()) if len(filled) else 0) if dim is None else dim
    other = numpy.flatnonzero(widths != expected)
    if len(other):
        raise VectorError(
            f"{path}: the vector of row {start + other[0]} has the width {widths[other[0]]}; expected {expected}."
        )
    if not expected:
        raise VectorError(f"{path}: the vectors from row {start} on are empty.")
    values = column.flatten()
    if values.type not in (pyarrow.float16(), pyarrow.float32()):
        values = values.cast(pyarrow.float32(), safe=False)
    return values.to_numpy(zero_copy_only=False).reshape(-1, expected)
