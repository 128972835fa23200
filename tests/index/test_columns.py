"""Columns of an index: which fields become one, and that updates keep them as a new index would have them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy
import pytest

import leafkit.index.columns
from leafkit.describe import info
from leafkit.errors import OptionError
from leafkit.files.open_files import OpenFiles
from leafkit.filters.where import read_where
from leafkit.index.columns import write_columns
from leafkit.index.package_files import write_manifest
from leafkit.search.columns import Columns
from leafkit.search.manifest import Manifest, read_manifest
from leafkit.search.searcher import Searcher
from tests.fixtures.packages import SPACE, index_vectors, update_vectors

FILTERS = [
    'kind = "a"',
    "year >= 2010",
    "year missing",
    'tags = "t1" or kind in ("b", "new")',
    "score < 0.5 and old = true",
]


def written(path: Path, values: list[Any]) -> Columns:
    """Write and open a column ``x`` of ``values``."""
    write_columns(path, ({"x": value} for value in values))
    with OpenFiles(path.parent, follow_links=False) as files:
        return Columns(path, files, rows=len(values))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2.5, None], "number"),
        ([2.5, 1], "number"),
        (["a", ["b", "c"]], "texts"),
        ([["b"], "a"], "texts"),
        ([None, [], True], "boolean"),
        (["x" * 256], "text"),
    ],
)
def test_a_field_with_one_type_of_value_is_a_column(tmp_path: Path, values: list[Any], kind: str) -> None:
    assert written(tmp_path / "c.npy", values).schema.types == {"x": kind}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1, "a"], "mixes integer and text"),
        ([True, 1], "mixes boolean and integer"),
        ([["a"], 1.5], "mixes texts and number"),
        ([{"a": 1}], "holds objects"),
        ([[1, 2]], "holds lists of other things than texts"),
        ([None, float("nan"), []], "holds no value in any document"),
        (["x" * 257], "holds texts of more than 256 characters"),
        (list("abcdefgh"), "holds more than 7 different texts"),
        ([1 << 63], "holds integers beyond 64 bits"),
        ([-(1 << 63)], "holds integers beyond 64 bits"),
        ([(1 << 53) + 1, 0.5], "mixes fractions with integers above 2\\^53"),
        ([0.5, (1 << 53) + 1], "above 2\\^53 beside fractions"),
    ],
)
def test_other_fields_are_left_out_with_the_reason(
    tmp_path: Path, values: list[Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leafkit.index.columns, "MOST_TEXTS", 7)
    columns = written(tmp_path / "c.npy", values)
    assert columns.schema.types == {}
    with pytest.raises(OptionError, match=f"'x' cannot be filtered: it .*{reason}"):
        columns.rows(read_where("x missing"))


def test_the_number_of_columns_is_limited(tmp_path: Path) -> None:
    write_columns(tmp_path / "c.npy", ({f"x{row}": row, "y" * 101: 1} for row in range(100)))
    with OpenFiles(tmp_path, follow_links=False) as files:
        columns = Columns(tmp_path / "c.npy", files, rows=100)
    assert list(columns.schema.types) == [f"x{row}" for row in range(64)]
    with pytest.raises(OptionError, match=r"no column 'x99' .* beyond the first 64"):
        columns.rows(read_where("x99 = 1"))


def drawn(rows: range) -> tuple[list[str], numpy.ndarray, list[dict[str, Any]]]:
    """Return ids, vectors and payloads of documents."""
    source = random.Random(rows.start)
    payload = []
    for row in rows:
        tags = source.sample(["t1", "t2", "t3"], source.randrange(4))
        fields = {"kind": source.choice("abc"), "year": source.randrange(2000, 2020), "tags": tags}
        fields |= {"score": source.random(), "old": source.random() < 0.5}
        payload.append({"text": f"{row}"} | {name: value for name, value in fields.items() if source.random() < 0.9})
    vectors = numpy.random.default_rng(rows.start).standard_normal((len(rows), 64)).astype(numpy.float32)
    return [f"doc {row}" for row in rows], vectors, payload


def allowed_ids(searcher: Searcher, where: str) -> set[str]:
    return set(searcher.search(numpy.ones(64), 10_000, where=where).ids)


@pytest.mark.parametrize("compact", [True, False])
def test_an_updated_index_filters_as_a_new_one(tmp_path: Path, compact: bool) -> None:
    ids, vectors, payload = drawn(range(200))
    updated = index_vectors(ids, vectors, SPACE, tmp_path / "updated.index", payload=payload)
    new_ids, new_vectors, new_payload = drawn(range(200, 250))
    new_payload[0] |= {"kind": "new", "year": 2019.5, "tags": "t1", "extra": 1}  # changes types, adds a column
    update_vectors(updated, remove=ids[:20], compact=compact)
    changes = {"ids": new_ids, "vectors": new_vectors, "payload": new_payload}
    update_vectors(updated, **changes, remove=ids[20:40], compact=compact)
    fresh = index_vectors(
        ids[40:] + new_ids,
        numpy.concatenate([vectors[40:], new_vectors]),
        SPACE,
        tmp_path / "fresh.index",
        payload=payload[40:] + new_payload,
    )
    one, other = Searcher.open(updated), Searcher.open(fresh)
    assert one.columns == other.columns
    assert one.columns["extra"] == "integer"
    for where in [*FILTERS, "extra exists", "extra missing", 'kind = "new"']:
        assert allowed_ids(one, where) == allowed_ids(other, where) != set(), where


@pytest.mark.parametrize("update", ["adds documents", "stores words"])
def test_a_package_of_an_older_leafkit_has_no_columns_until_it_is_updated(update: str, tmp_path: Path) -> None:
    ids, vectors, payload = drawn(range(50))
    index = index_vectors(ids[:40], vectors[:40], SPACE, tmp_path / "docs.index", payload=payload[:40])
    manifest = read_manifest(index)
    name = manifest.parts["columns"]
    parts = {part: file for part, file in manifest.parts.items() if part != "columns"}
    files = {file: facts for file, facts in manifest.files.items() if file != name}
    write_manifest(index, Manifest(**{**vars(manifest), "parts": parts, "files": files}))
    (index / name).unlink()
    assert "older leafkit" in info(index)["columns"]
    old = Searcher.open(index)
    assert old.columns == {}
    assert len(old.search(vectors[0], 3)) == 3
    with pytest.raises(OptionError, match="has no columns to filter by: an older leafkit"):
        old.search(vectors[0], 3, where="year = 2010")
    if update == "stores words":
        update_vectors(index, lexical=True)
    else:
        update_vectors(index, ids=ids[40:], vectors=vectors[40:], payload=payload[40:])
    searched = Searcher.open(index)
    rows = zip(ids[: len(searched)], payload, strict=False)
    assert allowed_ids(searched, "year >= 2010") == {name for name, row in rows if row.get("year", 0) >= 2010}


def test_info_names_the_columns_and_the_fields_that_are_none(tmp_path: Path) -> None:
    ids, vectors, payload = drawn(range(30))
    facts = info(index_vectors(ids, vectors, SPACE, tmp_path / "docs.index", payload=payload))
    assert "year (integer)" in facts["columns"]
    assert "tags (texts)" in facts["columns"]
    assert facts["no columns"] == "text is the text of the document"
