"""Invalid files of texts raise an error that names file, line, problem and what was expected."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leafkit.errors import TextError
from leafkit.texts import delimited, lines, parquet
from leafkit.texts.beir import read_corpus, read_qrels, read_queries
from leafkit.texts.read import read_texts
from leafkit.texts.record import Text

BAD_ROWS = {
    "cut JSON": ("a.jsonl", b'{"text": "b', "Unterminated string.*expected one JSON object per line"),
    "an array": ("a.jsonl", b'[{"text": "b"}]', "the line is a JSON list; expected one JSON object"),
    "deep JSON": ("a.jsonl", b"[" * 100_000, "recursion.*; expected one JSON object per line"),
    "a number of 5000 digits": (
        "a.jsonl",
        b'{"text": "b", "n": ' + b"9" * 5000 + b"}",
        "4300 digits.*; expected one",
    ),
    "no text": ("a.jsonl", b'{"txt": "b"}', "the columns are 'txt'; expected one of text, content.*--text-column"),
    "null text": ("a.jsonl", b'{"text": null}', "'text' holds None; expected a string"),
    "a number as text": ("a.jsonl", b'{"text": 3}', "'text' holds 3; expected a string"),
    "a list as text": ("a.jsonl", b'{"text": ["b"]}', r"'text' holds \['b'\]; expected a string"),
    "blank text": ("a.jsonl", b'{"text": " \\n"}', "the text column 'text' is empty; expected a text"),
    "a number as title": ("a.jsonl", b'{"text": "b", "title": 3}', "the title is 3; expected a string"),
    "a list as id": ("a.jsonl", b'{"text": "b", "id": []}', r"the id is \[\]; expected a string or a number"),
    "a boolean as id": ("a.jsonl", b'{"text": "b", "id": true}', "the id is True; expected a string or a number"),
    "an unknown role": ("a.jsonl", b'{"text": "b", "role": "passage"}', "the role is 'passage'; expected 'query' or"),
    "a list as role": ("a.jsonl", b'{"text": "b", "role": ["query"]}', r"the role is \['query'\]; expected"),
    "bad UTF-8 in JSON": ("a.jsonl", b'{"text": "\xff"}', "the byte 0xff; expected UTF-8"),
    "bad UTF-8 in plain text": ("a.txt", b"b\xe9", "the byte 0xe9; expected UTF-8"),
    "bad UTF-8 in CSV": ("a.csv", b"2,b\xe9", "the byte 0xe9; expected UTF-8.*iconv -f WINDOWS-1252 -t UTF-8"),
    "half a pair": ("a.jsonl", b'{"text": "b", "x": ["\\ud83d"]}', "half a surrogate pair"),
    "too few fields": ("a.csv", b"2", "the row has 1 fields; expected 2, as many as the header"),
    "too many fields": ("a.tsv", b"2\tb\tc", "the row has 3 fields; expected 2"),
    "bad quoting": ("a.csv", b'2,"b"c', "invalid CSV up to line 3"),
    "an empty field": ("a.csv", b"2,", "'text' is empty; expected a text"),
}
GOOD_ROWS = {
    ".jsonl": (b'{"id": 1, "text": "a"}', b'{"id": 3, "text": "c"}'),
    ".txt": (b"a", b"c"),
    ".csv": (b"id,text\n1,a", b"3,c"),
    ".tsv": (b"id\ttext\n1\ta", b"3\tc"),
}


@pytest.mark.parametrize(("name", "row", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_raises_with_its_line_or_is_skipped(tmp_path, name, row, message):
    path = tmp_path / name
    before, after = GOOD_ROWS[path.suffix]
    path.write_bytes(b"\n".join([before, row, after]))
    line = before.count(b"\n") + 2
    with pytest.raises(TextError, match=message) as caught:
        list(read_texts(path))
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert str(caught.value).endswith(". Correct the row, or skip invalid rows with --skip-bad.")
    assert [text.text for text in read_texts(path, skip_bad=True)] == ["a", "c"]


def packed_zst(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as file:
        file.write(content)
    return sink.getvalue().to_pybytes()


CONTENT = b"".join(b'{"text": "%s"}\n' % os.urandom(20).hex().encode() for _ in range(5000))


@pytest.mark.parametrize(("kind", "pack"), [(".gz", gzip.compress), (".zst", packed_zst)])
def test_a_truncated_stream_raises_with_the_row_reached_even_with_skip_bad(tmp_path, kind, pack):
    path = tmp_path / f"a.jsonl{kind}"
    packed = pack(CONTENT)
    for size in (len(packed) // 2, len(packed) - 1):
        path.write_bytes(packed[:size])
        read: list[Text] = []
        with pytest.raises(TextError, match="cannot read the file from here on") as caught:
            read.extend(read_texts(path, skip_bad=True))
        assert str(caught.value).startswith(f"{path}:{len(read) + 1}: ")


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst", "a.parquet", "a.parquet.gz", "a.parquet.zst"])
def test_a_file_that_does_not_match_its_suffix_raises(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"nothing but plain text\n" * 100)
    with pytest.raises(TextError, match=rf"{name}:1: cannot read the file from here on"):
        list(read_texts(path, skip_bad=True))


def test_damage_inside_a_gzip_stream_raises(tmp_path):
    packed = bytearray(gzip.compress(CONTENT))
    packed[len(packed) // 2 : len(packed) // 2 + 9] = bytes(9)
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    with pytest.raises(TextError, match=r"a.jsonl.gz:\d+: "):
        list(read_texts(tmp_path / "a.jsonl.gz"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.txt", "a.txt.gz", "a.txt.zst"])
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\r\n \n"], ids=["nothing", "mark", "blank"])
def test_a_file_without_rows_raises(tmp_path, name, content):
    pack = {".gz": gzip.compress, ".zst": packed_zst}.get(Path(name).suffix, bytes)
    (tmp_path / name).write_bytes(pack(content))
    with pytest.raises(TextError, match=rf"{name}: (the source is empty|the columns are ' ';)"):
        list(read_texts(tmp_path / name, skip_bad=True))


def test_a_table_with_only_a_header_raises(tmp_path):
    (tmp_path / "a.csv").write_text("id,text\n")
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array([], "string")}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(TextError, match="the source is empty; expected at least one text"):
            list(read_texts(tmp_path / name))


def test_a_file_with_only_invalid_rows_raises_even_with_skip_bad(tmp_path):
    (tmp_path / "a.jsonl").write_text("{\n{}\n{\n")
    with pytest.raises(TextError, match=r"all 3 rows are invalid \(2 not JSON, 1 no text column\)"):
        list(read_texts(tmp_path / "a.jsonl", skip_bad=True))


def test_a_table_without_a_text_column_raises_with_its_columns(tmp_path):
    (tmp_path / "a.csv").write_text("id,txt\n1,a\n")
    pyarrow.parquet.write_table(pyarrow.table({"id": [1], "txt": ["a"]}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(TextError, match=r"the columns are 'id', 'txt'; expected one of text.*--text-column"):
            list(read_texts(tmp_path / name, skip_bad=True))
        with pytest.raises(TextError, match="expected the id column 'key'"):
            list(read_texts(tmp_path / name, text_column="txt", id_column="key"))
        assert [text.text for text in read_texts(tmp_path / name, text_column="txt")] == ["a"]


def test_a_header_with_a_repeated_column_raises(tmp_path):
    (tmp_path / "a.csv").write_text("text,id,text\na,1,b\n")
    with pytest.raises(TextError, match="the column names 'text' occur more than once"):
        list(read_texts(tmp_path / "a.csv"))


@pytest.mark.parametrize("header", [b'"id"x,text', b"id,t\xe9xt"])
def test_an_invalid_header_raises(tmp_path, header):
    (tmp_path / "a.csv").write_bytes(header + b"\n1,a\n")
    with pytest.raises(TextError, match=r"a.csv:1: (invalid CSV up to line 1|the row holds the byte 0xe9;)"):
        list(read_texts(tmp_path / "a.csv", skip_bad=True))


def test_a_quote_that_is_never_closed_raises_with_its_first_line(tmp_path):
    (tmp_path / "a.csv").write_text('id,text\n1,a\n2,"b\n' + "3,c\n" * 1000)
    with pytest.raises(TextError, match=r"a.csv:3: the record starts a quote that is never closed"):
        list(read_texts(tmp_path / "a.csv", skip_bad=True))


def test_a_line_without_end_raises_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 1 << 20)
    (tmp_path / "a.txt").write_bytes(b"a\n" + bytes(3 << 20))
    with pytest.raises(TextError, match=r"a.txt:2: the line is longer than 1 MiB"):
        list(read_texts(tmp_path / "a.txt", skip_bad=True))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_record_without_end_raises_before_it_fills_the_memory(tmp_path, monkeypatch, name):
    """A quoted field may span lines, so that no line of this record is long."""
    monkeypatch.setattr(delimited, "LONGEST_LINE", 1 << 18)
    content = b"id,text\n1,a\n" + b'"\n",' * (1 << 18)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(TextError, match=r"a.csv(.gz)?:3: the record is longer than 0 MiB"):
        list(read_texts(tmp_path / name, skip_bad=True))


def test_a_compressed_parquet_file_of_zeros_raises_before_it_fills_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "LEAST_COPIED", 1 << 20)
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(bytes(64 << 20)))
    with pytest.raises(TextError, match=r"a.parquet.gz is more than 20 times larger when decompressed"):
        list(read_texts(tmp_path / "a.parquet.gz", skip_bad=True))


def test_a_dictionary_of_one_long_string_raises_before_it_fills_the_memory(tmp_path):
    """One row group of a few kilobytes would make Python strings of 16 GiB."""
    indices = pyarrow.array([0] * 1000, pyarrow.int32())
    table = pyarrow.table({"text": pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(["x" * (1 << 24)]))})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", dictionary_pagesize_limit=1 << 28, compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 10_000
    with pytest.raises(TextError, match=r"a.parquet: the 1000 rows from row 1 on take 16016 MiB"):
        list(read_texts(tmp_path / "a.parquet", skip_bad=True))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le"])
@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.jsonl"])
def test_a_file_in_utf_16_or_utf_32_is_named_as_such(tmp_path, name, encoding):
    mark = "" if encoding in ("utf-16", "utf-32") else "\ufeff"
    (tmp_path / name).write_bytes((mark + "id,text\n1,ä\n").encode(encoding))
    named = encoding.upper().removesuffix("-LE")
    with pytest.raises(TextError, match=rf"is in {named}; expected UTF-8. Convert it: iconv -f {named} -t UTF-8"):
        list(read_texts(tmp_path / name, skip_bad=True))


@pytest.mark.parametrize(
    ("values", "kind"), [([1], "int64"), ([b"a"], "binary"), ([["a"]], "list"), ([1.5], "double"), ([True], "bool")]
)
def test_parquet_with_a_text_column_of_another_type_raises(tmp_path, values, kind):
    pyarrow.parquet.write_table(pyarrow.table({"text": values}), tmp_path / "a.parquet")
    with pytest.raises(TextError, match=f"the text column 'text' has the type {kind}.*; expected strings"):
        list(read_texts(tmp_path / "a.parquet", skip_bad=True))


def test_bad_rows_of_parquet_raise_with_their_number_or_are_skipped(tmp_path):
    raw = pyarrow.array([b"a", b"\xff", None, b"d"]).cast(pyarrow.large_binary())
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": raw.view(pyarrow.large_string())}), path)
    with pytest.raises(TextError, match=r"a.parquet:2: the row holds the byte 0xff; expected UTF-8"):
        list(read_texts(path))
    assert [text.id for text in read_texts(path, skip_bad=True)] == ["a.parquet:1", "a.parquet:4"]


def test_damage_inside_parquet_raises(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": [os.urandom(20).hex() for _ in range(5000)]}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TextError, match=r"a.parquet:1: cannot read the file"):
        list(read_texts(path))
    path.write_bytes(whole[:1000] + bytes(len(whole) - 2000) + whole[-1000:])
    with pytest.raises(TextError, match=r"a.parquet:\d+: "):
        list(read_texts(path))


GARBAGE = st.lists(
    st.binary(max_size=8)
    | st.sampled_from([b'"', b"\n", b"\r", b",", b"\t", b"{", b"}", b'{"text": "a"}', b"text", b"\\ud800"]),
    max_size=12,
).map(b"".join)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.txt", "a.txt.gz", "a.txt.zst", "a.parquet"])
@settings(max_examples=50, deadline=None)
@given(content=GARBAGE)
def test_any_bytes_give_usable_texts_or_a_text_error(tmp_path_factory, name, content):
    path = tmp_path_factory.mktemp("garbage") / name
    path.write_bytes(content)
    for skip_bad in (False, True):
        with contextlib.suppress(TextError):
            for text in read_texts(path, skip_bad=skip_bad):
                assert text.text.strip()
                assert json.dumps([text.id, text.text, text.payload], ensure_ascii=False).encode()


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_changed_byte_in_parquet_gives_usable_texts_or_a_text_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("garbage") / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": [f"text {number}" for number in range(50)]}), path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(TextError):
        assert all(text.text.encode() for text in read_texts(path, skip_bad=True))


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.gz", "a.pkl.gz"])
def test_an_unknown_suffix_raises_with_the_known_suffixes(tmp_path, name):
    (tmp_path / name).write_text("a\n")
    with pytest.raises(TextError, match=r"has an unknown suffix; expected .jsonl, .*\.gz or \.zst"):
        read_texts(tmp_path / name)


def test_a_folder_of_files_raises_with_a_pattern_for_its_files(tmp_path):
    with pytest.raises(TextError, match=r"It contains no .jsonl"):
        read_texts(tmp_path)
    for name in ("a.jsonl.gz", "b.jsonl.gz", "README.md"):
        (tmp_path / name).write_text("")
    with pytest.raises(TextError, match=rf"Name its files: {tmp_path}/\*\.jsonl\.gz$"):
        read_texts(str(tmp_path))


def test_an_empty_list_of_sources_raises():
    with pytest.raises(TextError, match="no sources of texts were given"):
        read_texts([])


def beir(folder: Path, *, corpus: str = "", queries: str = "", qrels: str = "") -> Path:
    (folder / "qrels").mkdir()
    for name, content in (("corpus.jsonl", corpus), ("queries.jsonl", queries), ("qrels/test.tsv", qrels)):
        (folder / name).write_text(content)
    return folder


def test_a_repeated_id_in_a_beir_folder_raises_with_both_lines(tmp_path):
    rows = "".join(json.dumps({"_id": name, "text": "a"}) + "\n" for name in "xyx")
    beir(tmp_path, corpus=rows, queries=rows)
    with pytest.raises(TextError, match=r"corpus.jsonl:3: the id 'x' also occurs at .*corpus.jsonl:1;"):
        list(read_corpus(tmp_path))
    with pytest.raises(TextError, match=r"queries.jsonl:3: the id 'x' also occurs at .*queries.jsonl:1;"):
        read_queries(tmp_path)


@pytest.mark.parametrize("row", ['{"text": "a"}', '{"_id": null, "text": "a"}', '{"_id": "", "text": "a"}'])
def test_a_beir_row_without_an_id_raises(tmp_path, row):
    with pytest.raises(TextError, match=r"corpus.jsonl:1: (the columns are 'text'; expected )?the id column '_id'"):
        list(read_corpus(beir(tmp_path, corpus=row)))


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ("", "the file is empty; expected at least one judgement"),
        ("query-id\tcorpus-id\tscore\n", "the file is empty; expected at least one judgement"),
        ("q1\td1\t1\n", r"the header is \['q1', 'd1', '1'\]; expected query-id, corpus-id, score"),
        ("query-id\tscore\nq1\t1\n", "expected query-id, corpus-id, score separated by tabs"),
        ("query-id,corpus-id,score\nq1,d1,1\n", "expected query-id, corpus-id, score separated by tabs"),
        ("query-id\tcorpus-id\tscore\nq1\td1\n", "test.tsv:2: the row has 2 fields; expected 3"),
        ("query-id\tcorpus-id\tscore\nq1\td1\t0.5\n", "test.tsv:2: the score is '0.5'; expected an integer"),
        ("query-id\tcorpus-id\tscore\nq1\t\t1\n", "test.tsv:2: the query id is 'q1' and the document id is ''; .*both"),
        (
            "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td1\t0\n",
            "test.tsv:3: the score of 'q1' and 'd1' is 0 here",
        ),
    ],
)
def test_invalid_judgements_raise(tmp_path, qrels, message):
    with pytest.raises(TextError, match=message):
        read_qrels(beir(tmp_path, qrels=qrels))


def test_a_missing_file_of_a_beir_folder_is_named_with_the_files_present(tmp_path):
    beir(tmp_path)
    with pytest.raises(TextError, match=r"does not contain qrels/dev.tsv \(or .*\)\. .*qrels contains: test.tsv"):
        read_qrels(tmp_path, "dev")
    with pytest.raises(TextError, match=r"does not contain queries.jsonl"):
        read_queries(tmp_path / "qrels")
