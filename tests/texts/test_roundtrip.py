"""Texts that are written in any format and compression are read back unchanged."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leafkit.texts.read import read_texts
from leafkit.texts.record import Text

ROLES = st.sampled_from([None, "query", "document"])
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
LINES = WORDS.filter(lambda text: "\n" not in text and text[-1] != "\r" and text[0] != "\ufeff")


def written(folder: Path, kind: str, content: bytes) -> Path:
    path = folder / f"texts{kind}"
    if kind.endswith(".gz"):
        path.write_bytes(gzip.compress(content, 1))
    elif kind.endswith(".zst"):
        with pyarrow.CompressedOutputStream(str(path), "zstd") as file:
            file.write(content)
    else:
        path.write_bytes(content)
    return path


def row(text: Text) -> dict:
    return {"id": text.id, "text": text.text, "title": text.title, "role": text.role, **text.payload}


def as_jsonl(texts: list[Text]) -> bytes:
    return "".join(json.dumps(row(text), ensure_ascii=len(text.id) % 2 == 0) + "\n" for text in texts).encode()


def as_table(texts: list[Text], delimiter: str) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, ["id", "text", "title", "role", "note"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(row(text) for text in texts)
    return file.getvalue().encode()


def as_parquet(texts: list[Text]) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row(text) for text in texts]), file)
    return file.getvalue()


def texts_with(**payload: st.SearchStrategy) -> st.SearchStrategy[list[Text]]:
    fields = {"id": WORDS, "text": WORDS, "title": st.just("") | WORDS, "role": ROLES}
    return st.lists(st.builds(Text, **fields, payload=st.fixed_dictionaries(payload)), min_size=1, max_size=5)


STRINGS = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | STRINGS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(STRINGS, inner, max_size=2),
    max_leaves=4,
)
COMPRESSIONS = pytest.mark.parametrize("compression", ["", ".gz", ".zst"])


@COMPRESSIONS
@settings(max_examples=30, deadline=None)
@given(texts=texts_with(note=JSON))
def test_jsonl_is_read_back_unchanged(tmp_path_factory, compression, texts):
    path = written(tmp_path_factory.mktemp("texts"), f".jsonl{compression}", as_jsonl(texts))
    assert list(read_texts(path)) == texts


@COMPRESSIONS
@pytest.mark.parametrize(("kind", "delimiter"), [(".csv", ","), (".tsv", "\t")])
@settings(max_examples=30, deadline=None)
@given(texts=texts_with(note=STRINGS))
def test_csv_and_tsv_are_read_back_unchanged(tmp_path_factory, compression, kind, delimiter, texts):
    path = written(tmp_path_factory.mktemp("texts"), kind + compression, as_table(texts, delimiter))
    assert list(read_texts(path)) == texts


@COMPRESSIONS
@settings(max_examples=30, deadline=None)
@given(
    texts=texts_with(note=st.lists(st.integers(0, 9)), more=st.fixed_dictionaries({"a": st.floats(allow_nan=False)}))
)
def test_parquet_is_read_back_unchanged(tmp_path_factory, compression, texts):
    path = written(tmp_path_factory.mktemp("texts"), f".parquet{compression}", as_parquet(texts))
    assert list(read_texts(path)) == texts


@COMPRESSIONS
@settings(max_examples=30, deadline=None)
@given(lines=st.lists(LINES, min_size=1, max_size=5), end=st.sampled_from(["\n", "\r\n", "\n\n \t\n"]))
def test_plain_text_is_read_back_unchanged(tmp_path_factory, compression, lines, end):
    path = written(tmp_path_factory.mktemp("texts"), f".txt{compression}", end.join(lines).encode())
    step = end.count("\n")
    numbered = [Text(id=f"{path.name}:{1 + step * index}", text=line) for index, line in enumerate(lines)]
    assert list(read_texts(path)) == numbered
