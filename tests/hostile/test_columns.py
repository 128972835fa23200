"""Files of columns from a stranger: each raises `DamageError` or gives rows of the index, in bounded memory."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy
import pytest

from leafkit.errors import DamageError, OptionError
from leafkit.files.arrays import save_array
from leafkit.files.open_files import OpenFiles
from leafkit.filters.where import read_where
from leafkit.index.columns import write_columns
from leafkit.search.columns import Columns

PAYLOADS = [
    {"year": 2000 + row, "kind": "abc"[row % 3], "tags": ["x", "y"][: row % 3], "size": row / 3} for row in range(40)
]
FILTERS = ["year > 2010", 'kind = "b"', 'tags in ("x", "z") or kind < "b"', "size >= 3 and year exists", "tags missing"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of four columns."""
    write_columns(tmp_path / "columns.npy", PAYLOADS)
    return tmp_path / "columns.npy"


def opened(path: Path, rows: int = 40) -> Columns:
    with OpenFiles(path.parent, follow_links=False) as files:
        return Columns(path, files, rows=rows)


def header_of(path: Path) -> dict[str, Any]:
    data = numpy.load(path)
    return json.loads(data[8 : 8 + int.from_bytes(data[:8].tobytes(), "little")].tobytes())


def replace_header(path: Path, header: object) -> None:
    """Replace the header of the file, and keep the bytes after it."""
    data = numpy.load(path)
    rest = data[8 + int.from_bytes(data[:8].tobytes(), "little") :]
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    content += b" " * (-len(content) % 8)
    start = numpy.frombuffer(len(content).to_bytes(8, "little") + content, dtype=numpy.uint8)
    save_array(path, numpy.concatenate([start, rest]))


@pytest.mark.parametrize(
    "data",
    [
        numpy.zeros(0, dtype=numpy.uint8),
        numpy.zeros(7, dtype=numpy.uint8),
        numpy.zeros(64, dtype=numpy.uint8),
        numpy.full(64, 255, dtype=numpy.uint8),
        numpy.zeros((8, 8), dtype=numpy.uint8),
        numpy.zeros(64, dtype=numpy.float64),
    ],
)
def test_an_array_that_is_no_file_of_columns_is_damage(path: Path, data: numpy.ndarray) -> None:
    save_array(path, data)
    with pytest.raises(DamageError, match="not a file of columns that leafkit wrote"):
        opened(path)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 41},
        {"rows": "40"},
        {"columns": []},
        {"columns": {"year": 7}},
        {"columns": {"year": {"type": "object", "arrays": {}}}},
        {"columns": {"year": {"type": ["integer"], "arrays": {}}}},
        {"columns": {"year": {"type": "integer", "arrays": {}}}},
        {"columns": {"year": {"type": "integer", "arrays": {"values": [0]}}}},
        {"columns": {"year": {"type": "integer", "arrays": {"values": [0, 39]}}}},
        {"columns": {"year": {"type": "integer", "arrays": {"values": [0.0, 40]}}}},
        {"columns": {"year": {"type": "integer", "arrays": {"values": ["", 40]}}}},
        {"columns": {"year": {"type": "integer", "arrays": {"values": [1, 40]}}}},
        {"columns": {"year": {"type": "integer", "arrays": {"values": [-8, 40]}}}},
        {"columns": {"year": {"type": "integer", "arrays": {"values": [1 << 70, 40]}}}},
        {"columns": {"year": {"type": "integer", "arrays": {"values": [0, -40]}}}},
        {"columns": {"kind": {"type": "text", "arrays": {"values": [0, 40], "starts": [0, 0], "texts": [0, 0]}}}},
        {"left_out": 7},
        {"columns": None},
    ],
)
def test_a_header_that_does_not_fit_is_damage(path: Path, change: dict[str, Any]) -> None:
    replace_header(path, header_of(path) | change)
    with pytest.raises(DamageError, match="not a file of columns that leafkit wrote"):
        opened(path)


@pytest.mark.parametrize("header", [b"[" * 100_000, b"[]", b"\xff\xfe", b'{"rows": 40}', b"{}" + b" " * (1 << 21)])
def test_a_header_that_is_no_header_is_damage(path: Path, header: bytes) -> None:
    replace_header(path, header)
    with pytest.raises(DamageError, match="not a file of columns that leafkit wrote"):
        opened(path)


def test_rows_and_texts_outside_the_file_are_damage(path: Path) -> None:
    header = header_of(path)
    tags, kind = (header["columns"][name]["arrays"] for name in ("tags", "kind"))
    tags["rows"], kind["starts"] = [header["columns"]["year"]["arrays"]["values"][0], tags["rows"][1]], tags["rows"]
    replace_header(path, header)
    columns = opened(path)
    with pytest.raises(DamageError, match="names a document that does not exist"):
        columns.rows(read_where("tags missing"))
    kind["starts"] = [header["columns"]["year"]["arrays"]["values"][0], 4]
    replace_header(path, header)
    with pytest.raises(DamageError, match="holds no text at bytes"):
        opened(path).rows(read_where('kind = "b"'))


def test_changed_bytes_raise_an_error_or_give_rows_of_the_index(path: Path) -> None:
    random = numpy.random.default_rng(0)
    whole = numpy.fromfile(path, dtype=numpy.uint8)
    for _ in range(200):
        data = whole.copy()
        data[random.integers(64, len(data), size=4)] = random.integers(256, size=4)
        path.write_bytes(data.tobytes())
        with contextlib.suppress(DamageError, OptionError):
            columns = opened(path)
            for where in FILTERS:
                rows = columns.rows(read_where(where))
                assert ((rows >= 0) & (rows < 40)).all()
