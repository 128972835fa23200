"""How a row becomes a text with id, role and payload, and how much memory reading takes."""

from __future__ import annotations

import csv
import gzip
import json
import logging
import subprocess
import sys
import tracemalloc
from datetime import date
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from leafkit import read_texts
from leafkit.errors import MissingExtraError, OptionError, TextError
from leafkit.texts.record import Text


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_text_and_id_come_from_the_first_usual_column(tmp_path):
    path = write(
        tmp_path / "a.jsonl",
        {"body": "1", "query": "2", "docid": "x", "id": 7, "year": 1999},
        {"title": "t", "content": "3", "_id": "y", "id": "z", "role": ""},
        {"text": "4", "id": None},
    )
    assert list(read_texts(path)) == [
        Text(id="7", text="2", payload={"body": "1", "docid": "x", "year": 1999}),
        Text(id="y", text="3", title="t", payload={"id": "z"}),
        Text(id="a.jsonl:3", text="4"),
    ]


def test_named_columns_override_the_usual_columns(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "1", "title": "2", "id": "3", "key": 4.0})
    (read,) = read_texts(path, text_column="title", id_column="key")
    assert read == Text(id="4.0", text="2", payload={"text": "1", "id": "3"})
    assert read.full_text == "2"


def test_a_missing_named_column_raises(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "1", "id": "2"})
    with pytest.raises(TextError, match=r"a.jsonl:1: the columns are 'text', 'id'; expected 'body'"):
        list(read_texts(path, text_column="body"))
    with pytest.raises(TextError, match=r"a.jsonl:1: .*expected the id column 'key'"):
        list(read_texts(path, id_column="key"))


def test_plain_text_ignores_the_name_of_the_text_column(tmp_path):
    (tmp_path / "a.txt").write_text("one\n")
    sources = [tmp_path / "a.txt", write(tmp_path / "b.jsonl", {"abstract": "two"})]
    assert [text.text for text in read_texts(sources, text_column="abstract")] == ["one", "two"]


def test_the_prefix_overrides_the_role_column_and_the_role_column_overrides_the_default(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "1", "role": "document"}, {"text": "2"})

    def roles(source, **options):
        return [text.role for text in read_texts(source, **options)]

    assert roles(path) == ["document", None]
    assert roles(str(path), role="query") == ["document", "query"]
    assert roles(f"query:{path}", role="document") == ["query", "query"]
    with pytest.raises(OptionError, match="unknown role 'passage'"):
        roles(path, role="passage")


def test_the_full_text_is_title_and_text():
    assert Text(id="1", text="of the year", title="Song").full_text == "Song of the year"
    assert Text(id="1", text="alone").full_text == "alone"
    assert Text(id="1", text="", title="Song").full_text == "Song"


def test_a_document_with_only_a_title_is_valid(tmp_path):
    (read,) = read_texts(write(tmp_path / "a.jsonl", {"title": "Song", "text": ""}))
    assert read.full_text == "Song"


def test_sources_are_read_in_order(tmp_path):
    paths = [write(tmp_path / f"{name}.jsonl", {"text": name}) for name in "ba"]
    assert [(text.id, text.text) for text in read_texts(paths)] == [("b.jsonl:1", "b"), ("a.jsonl:1", "a")]


def test_a_missing_source_raises_before_anything_is_read(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "1"})
    with pytest.raises(TextError, match=r"b\.jsonl does not exist; expected a file, a folder or hub:owner/name"):
        read_texts([path, tmp_path / "b.jsonl"])


def test_skipped_rows_are_counted_by_reason(tmp_path, caplog):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "1"}\n{\n[]\n\n{"text": ""}\n{"text": " "}\n{"text": "2"}\n')
    with caplog.at_level(logging.WARNING, logger="leafkit"):
        assert [text.id for text in read_texts(path, skip_bad=True)] == ["a.jsonl:1", "a.jsonl:7"]
    assert caplog.messages == [f"{path}: skipped 4 of 6 rows (2 empty text, 1 not JSON, 1 not an object)"]


def test_nothing_is_logged_without_skipped_rows(tmp_path, caplog):
    list(read_texts(write(tmp_path / "a.jsonl", {"text": "1"}), skip_bad=True))
    assert not caplog.messages


def test_ids_may_repeat_unless_unique_ids_is_set(tmp_path):
    one = write(tmp_path / "a.jsonl", {"id": 1, "text": "1"})
    two = write(tmp_path / "b.jsonl", {"id": 2, "text": "2"}, {"id": "1", "text": "3"})
    assert len(list(read_texts([one, two]))) == 3
    with pytest.raises(TextError, match=r"b.jsonl:2: the id '1' also occurs at .*a.jsonl:1; expected unique ids"):
        list(read_texts([one, two], unique_ids=True))
    assert [text.text for text in read_texts([one, two], unique_ids=True, skip_bad=True)] == ["1", "2"]
    with pytest.raises(TextError, match=r"a.jsonl:1: the id '1' also occurs at .*a.jsonl:1"):
        list(read_texts([one, one], unique_ids=True))


def test_a_quoted_field_may_span_lines_and_later_lines_keep_their_numbers(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbftext,note\r\n"one\r\ntwo",a\r\n\r\nthree,b\r\n')
    assert list(read_texts(path)) == [
        Text(id="a.csv:2", text="one\r\ntwo", payload={"note": "a"}),
        Text(id="a.csv:5", text="three", payload={"note": "b"}),
    ]


def test_byte_order_marks_and_crlf_are_removed(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\n two \r\n")
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one"}\r\n\r\n{"text": " two "}\r\n')
    for name in ("a.txt", "b.jsonl"):
        texts = list(read_texts(tmp_path / name))
        assert [(text.id, text.text) for text in texts] == [(f"{name}:1", "one"), (f"{name}:3", " two ")]


def test_lines_of_several_megabytes_are_read_completely(tmp_path):
    long = "word " * 500_000
    (tmp_path / "a.txt").write_text(long)
    write(tmp_path / "b.jsonl", {"text": long})
    with open(tmp_path / "c.csv", "w", newline="") as file:
        csv.writer(file).writerows([["text"], [long]])
    assert [text.text for text in read_texts(sorted(tmp_path.iterdir()))] == [long] * 3


def test_suffixes_may_be_in_capitals(tmp_path):
    path = tmp_path / "A.B.TXT.GZ"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert [text.text for text in read_texts(path)] == ["one", "two"]


def test_parquet_payload_is_converted_to_json_values(tmp_path):
    row = {"text": "a", "id": 3, "day": date(2024, 2, 29), "raw": b"\xff", "parts": [{"n": 1.5}]}
    table = pyarrow.Table.from_pylist([row])
    table = table.set_column(0, "text", table["text"].dictionary_encode())
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    payload = {"day": "2024-02-29", "raw": "/w==", "parts": [{"n": 1.5}]}
    assert list(read_texts(tmp_path / "a.parquet")) == [Text(id="3", text="a", payload=payload)]


def test_vectors_are_not_part_of_the_payload(tmp_path):
    rows = [{"text": "a", "emb": [1, 2], "embedding": [0.5, 0.25], "vector": "of a disease", "n": [1]}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    write(tmp_path / "a.jsonl", *rows)
    for path in (tmp_path / "a.parquet", tmp_path / "a.jsonl"):
        assert [text.payload for text in read_texts(path)] == [{"vector": "of a disease", "n": [1]}]


def test_rows_of_parquet_are_numbered_across_batches_and_row_groups(tmp_path):
    table = pyarrow.table({"text": [f"text {number}" for number in range(1, 2501)]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=700)
    for number, text in enumerate(read_texts(tmp_path / "a.parquet"), start=1):
        assert (text.id, text.text) == (f"a.parquet:{number}", f"text {number}")
    assert number == 2500


def test_reading_holds_only_a_few_rows_in_memory(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        for number in range(60_000):
            file.write(f'{{"id": {number}, "text": "the text of row {number}", "source": "made"}}\n')
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_texts(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 60_000
    assert peak < 5_000_000  # all rows together take 30 MB


@pytest.mark.parametrize("name", ["a.parquet", "a.txt.zst"])
def test_a_missing_package_is_named_with_its_pip_command(tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(b"never read")
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pyarrow, which is not installed. .*pip install 'leafkit\[texts\]'"):
        list(read_texts(tmp_path / name))


def test_importing_the_readers_imports_no_optional_package():
    heavy = "{'pyarrow', 'datasets', 'torch', 'transformers'}"
    code = f"import sys, leafkit.texts.read, leafkit.texts.beir; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
