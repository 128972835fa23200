"""Pairs: a query names the documents that answer it by their ids, in every format and in any order of the sources."""

import json

import numpy
import pyarrow
import pyarrow.parquet
import pytest

from leafkit.errors import TextError
from leafkit.texts.options import TextOptions
from leafkit.texts.table import distinct_texts

DOCUMENTS = [{"_id": f"d{i}", "text": f"document {i}", "role": "document"} for i in range(4)]
QUERIES = [
    {"_id": "q0", "text": "query 0", "role": "query", "pair": "d1"},
    {"_id": "q1", "text": "query 1", "role": "query", "pair": ["d0", "d3"]},
    {"_id": "q2", "text": "query 2", "role": "query"},
    {"_id": "q3", "text": "query 3", "role": "query", "pair": None},
]
EXPECTED = {("query 0", "document 1"), ("query 1", "document 0"), ("query 1", "document 3")}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(*sources, **options):
    return distinct_texts(list(sources), TextOptions(**options))


def named(table):
    return {(table.texts[query], table.texts[document]) for query, document in table.pairs}


@pytest.fixture
def documents(tmp_path):
    return write(tmp_path / "documents.jsonl", DOCUMENTS)


@pytest.fixture
def queries(tmp_path):
    return write(tmp_path / "queries.jsonl", QUERIES)


def test_pairs_are_found_in_any_order_of_the_sources(documents, queries, tmp_path):
    both = write(tmp_path / "both.jsonl", [*QUERIES[:1], *DOCUMENTS, *QUERIES[1:]])
    for sources in ([documents, queries], [queries, documents], [both]):
        table = read(*sources)
        assert named(table) == EXPECTED
        assert all(table.roles[query] == "query" for query in table.pairs[:, 0])
        assert table.signals() == {"pairs"} | ({"domains"} if len(sources) == 2 else set())


def test_every_format_names_several_documents(documents, tmp_path):
    table = tmp_path / "queries.csv"
    table.write_text("_id,text,role,pair\nq0,query 0,query,d1\nq1,query 1,query,d0 d3\nq2,query 2,query,\n")
    arrow = tmp_path / "queries.parquet"
    rows = [row | {"pair": [row["pair"]] if isinstance(row.get("pair"), str) else row.get("pair")} for row in QUERIES]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), arrow)
    for queries in (table, arrow):
        assert named(read(documents, queries)) == EXPECTED


def test_ids_may_be_numbers_and_an_id_with_a_space_stands_in_a_list(tmp_path):
    rows = [
        {"id": 7, "text": "seven", "role": "document"},
        {"id": "a b", "text": "spaced", "role": "document"},
        {"id": 1, "text": "which", "role": "query", "pair": [7, "a b"]},
    ]
    assert named(read(write(tmp_path / "a.jsonl", rows))) == {("which", "seven"), ("which", "spaced")}


def test_a_repeated_query_keeps_the_pairs_of_all_its_rows_and_a_repeated_document_has_all_its_ids(tmp_path):
    rows = [
        *DOCUMENTS,
        {"_id": "again", "text": "document 2", "role": "document"},
        {"_id": "q", "text": "one", "role": "query", "pair": "again"},
        {"_id": "r", "text": "one", "role": "query", "pair": "d0"},
        {"_id": "s", "text": "one", "role": "query", "pair": "d2"},
    ]
    table = read(write(tmp_path / "a.jsonl", rows))
    assert named(table) == {("one", "document 2"), ("one", "document 0")}
    assert len(table.pairs) == 2


def test_a_document_that_a_limit_leaves_out_drops_its_pairs(documents, queries):
    assert named(read(documents, queries, documents=2)) == {("query 0", "document 1"), ("query 1", "document 0")}


def test_choosing_texts_keeps_the_pairs_of_which_both_are_chosen(documents, queries):
    table = read(documents, queries)
    rows = [row for row, text in enumerate(table.texts) if text not in ("document 0", "query 0")][::-1]
    chosen = table.choose(rows)
    assert named(chosen) == {("query 1", "document 3")}
    assert chosen.choose([0]).pairs.shape == (0, 2)


def test_a_digest_changes_with_the_pairs_and_is_the_same_without_any(documents, tmp_path):
    plain = read(documents, write(tmp_path / "plain.jsonl", QUERIES[2:]))
    assert plain.pairs.shape == (0, 2)
    assert plain.digest() == plain.choose(range(len(plain))).digest()
    digests = {plain.digest()}
    for pair in (["d0"], ["d1"], ["d0", "d1"]):
        digests.add(
            read(documents, write(tmp_path / "paired.jsonl", [QUERIES[2] | {"pair": pair}, QUERIES[3]])).digest()
        )
    assert len(digests) == 4


def test_without_pairs_nothing_is_read_twice(documents, monkeypatch):
    from leafkit.texts import table

    opened = []
    whole = table.read_texts
    monkeypatch.setattr(table, "read_texts", lambda name, **options: opened.append(name) or whole(name, **options))
    assert numpy.array_equal(read(documents).pairs, numpy.zeros((0, 2)))
    assert opened == [documents]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"role": "query", "pair": "d9"}, "the query 'x' has the pair 'd9', but no document has this id"),
        ({"role": "query", "pair": ["d1", "q0"]}, "the query 'x' has the pair 'q0', but no document has this id"),
        ({"role": "document", "pair": "d1"}, "the document 'x' has a pair, but pairs are named by queries"),
        ({"role": "query", "pair": {"id": "d1"}}, "expected the id of a document, or a list of ids"),
        ({"role": "query", "pair": [True]}, "expected the id of a document, or a list of ids"),
        ({"role": "query", "pair": [None]}, "expected the id of a document, or a list of ids"),
    ],
)
def test_an_invalid_pair_raises(row, message, documents, queries, tmp_path):
    wrong = write(tmp_path / "wrong.jsonl", [{"_id": "x", "text": "a text"} | row])
    with pytest.raises(TextError, match=message):
        read(documents, queries, wrong)


def test_an_id_that_two_documents_share_raises_only_if_a_pair_names_it(documents, queries, tmp_path):
    twin = write(tmp_path / "twin.jsonl", [{"_id": "d2", "text": "another", "role": "document"}])
    assert named(read(documents, queries, twin)) == EXPECTED
    twin = write(tmp_path / "twin.jsonl", [{"_id": "d3", "text": "another", "role": "document"}])
    with pytest.raises(TextError, match="the pair 'd3', but two different documents have this id"):
        read(documents, queries, twin)
