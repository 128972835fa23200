"""A teacher that is an engine: the texts and vectors that a database holds already.

They are read once into a vectors file in the cache, which then is the teacher. A repeated command reads them anew: the
same rows give the same file, so that an interrupted training goes on.
"""

from __future__ import annotations

import hashlib
import logging
import re
from itertools import chain
from pathlib import Path
from typing import Any

from leafkit.engines.pairs import OpenPairs, Pairs, PairsUrl, open_pairs
from leafkit.errors import VectorError
from leafkit.extras import explain_missing_extras
from leafkit.files.atomic import atomic_file, parent_folders
from leafkit.files.progress import progress
from leafkit.types import Float32
from leafkit.vectors.check import check_vectors
from leafkit.vectors.store import default_cache
from leafkit.vectors.vectors_file_types import SpaceLabel

with explain_missing_extras():
    import pyarrow
    from pyarrow import parquet

    from leafkit.vectors.vectors_file_parquet import SPACE

FOLDER = "engines"  # inside the cache

log = logging.getLogger("leafkit")


def read_engine(address: str, cache: Path | None = None) -> Path:
    """Read the texts and vectors at ``address`` into a vectors file in the ``cache`` and return its path.

    address: that of a table or collection that leafkit wrote, or of another one with the names of its columns (see
        `leafkit.engines.pairs`).

    What leafkit wrote has its space in the file, and its texts are documents. Raises the errors of `open_pairs`, and
    `VectorError` for vectors that are not finite, are zero or are missing.
    """
    url, path = PairsUrl.parse(address), file_of(address, cache)
    opened = open_pairs(url)
    if opened.space is not None and not opened.space.normalised:
        log.warning(
            "%s holds vectors of length 1, and those of its space have other lengths: the student learns their "
            "directions alone, which is all that a search by cosine needs",
            url,
        )
    with parent_folders(path):
        count = _write(path, opened, url)
    log.info("read %s texts with their vectors from %s into %s", f"{count:,}", url, path)
    return path


def file_of(address: str, cache: Path | None = None) -> Path:
    """Return the path of the vectors file into which `read_engine` reads what is at ``address``."""
    url = PairsUrl.parse(address)
    identity = f"{url} {sorted((url.columns or {}).items())}"
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    stem = re.sub(r"[^\w-]+", "-", url.url.name).strip("-")[:60]
    return (cache or default_cache()) / FOLDER / f"{stem}-{digest}.parquet"


def _write(path: Path, opened: OpenPairs, url: PairsUrl) -> int:
    """Write the pairs to ``path``, whole or not at all, and return their number."""
    first = next(opened.batches, None)
    if first is None:
        raise VectorError(f"{url} holds no text with a vector.")
    dim = opened.space.dim if opened.space else first.vectors.shape[1]
    count, schema = 0, _schema(opened, dim)
    with (
        atomic_file(path, wait=True) as file,
        parquet.ParquetWriter(file, schema) as writer,
        progress("read", total=None, unit="texts") as bar,
    ):
        for pairs in chain([first], opened.batches):
            vectors = check_vectors(pairs.vectors, rows=len(pairs.texts), dim=dim, source=str(url), first=count)
            writer.write_table(_table(pairs, vectors, schema))
            count += len(pairs.texts)
            bar.update(len(pairs.texts))
    return count


def _schema(opened: OpenPairs, dim: int) -> pyarrow.Schema:
    fields = {"id": pyarrow.string(), "text": pyarrow.string(), "vector": pyarrow.list_(pyarrow.float32(), dim)}
    if opened.space is None:
        return pyarrow.schema(fields)
    # An index holds documents. Of another table nothing is known, so its texts count for both roles.
    fields["role"] = pyarrow.string()
    return pyarrow.schema(fields, metadata={SPACE: SpaceLabel(space=opened.space).to_json()})


def _table(pairs: Pairs, vectors: Float32, schema: pyarrow.Schema) -> pyarrow.Table:
    flat = pyarrow.array(vectors.ravel(), type=pyarrow.float32())
    dim = schema.field("vector").type.list_size
    texts = [pyarrow.array(part, type=pyarrow.string()) for part in (pairs.ids, pairs.texts)]
    columns: list[Any] = [*texts, pyarrow.FixedSizeListArray.from_arrays(flat, dim)]
    if "role" in schema.names:
        columns.append(pyarrow.array(["document"] * len(pairs.texts)))
    return pyarrow.table(columns, schema=schema)
