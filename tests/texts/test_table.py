"""A table keeps each text once per role, the first texts of each role, and numbers labels and domains."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leafkit.errors import TextError
from leafkit.texts.options import TextOptions
from leafkit.texts.table import TextTable, distinct_texts

ROW = st.fixed_dictionaries(
    {
        "text": st.sampled_from("abcdef"),
        "role": st.sampled_from([None, "query", "document"]),
        "label": st.sampled_from([None, "x", "y", 3]),
        "source": st.sampled_from([None, "s", "t"]),
    }
)
LIMIT = st.none() | st.integers(1, 4)


def write(folder: Path, rows: list[dict], name: str = "a.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=20), queries=LIMIT, documents=LIMIT)
def test_a_table_agrees_with_a_simple_loop(tmp_path_factory, rows, queries, documents):
    path = write(tmp_path_factory.mktemp("texts"), rows)
    table = distinct_texts(path, TextOptions(queries=queries, documents=documents))
    limits, expected = {"query": queries, "document": documents}, {}
    for row in rows:
        role = row["role"] or "document"
        taken = sum(key[0] == role for key in expected)
        if limits[role] is None or taken < limits[role]:
            expected.setdefault((role, row["text"]), row)
    assert list(zip(table.roles, table.texts)) == list(expected)
    assert table.labels == [None if row["label"] is None else str(row["label"]) for row in expected.values()]
    assert table.domains == [row["source"] or str(path) for row in expected.values()]
    assert table.counts == Counter((role, domain) for role, domain in zip(table.roles, table.domains))


def test_repeated_texts_are_counted(tmp_path):
    table = distinct_texts(write(tmp_path, [{"text": text} for text in "abaab"]), TextOptions())
    assert (table.texts, table.repeated) == (["a", "b"], 3)


def test_a_missing_last_source_raises_before_the_first_is_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("not JSON\n")
    with pytest.raises(TextError, match=r"missing\.jsonl does not exist"):
        distinct_texts([path, tmp_path / "missing.jsonl"], TextOptions())


def test_limits_of_zero_and_no_sources_leave_no_texts(tmp_path):
    path = write(tmp_path, [{"text": "a"}])
    with pytest.raises(TextError, match=r"there are no texts in .*a\.jsonl\."):
        distinct_texts(path, TextOptions(queries=0, documents=0))
    with pytest.raises(TextError, match="there are no texts in the empty list of sources"):
        distinct_texts([], TextOptions())


@given(st.lists(st.tuples(st.sampled_from([None, "x", "y", "z"]), st.sampled_from("st")), max_size=12))
def test_equal_labels_and_domains_have_equal_numbers_in_alphabetical_order(rows):
    table = TextTable()
    for number, (label, domain) in enumerate(rows):
        table.add(f"text {number}", "query", bytes([number]), label=label, domain=domain)
    labels, domains = sorted({label for label, _ in rows if label}), sorted({domain for _, domain in rows})
    assert table.label_ids().tolist() == [labels.index(label) if label else -1 for label, _ in rows]
    assert table.domain_ids().tolist() == [domains.index(domain) for _, domain in rows]
    assert table.signals() == {*(["labels"] if labels else []), *(["domains"] if len(domains) > 1 else [])}


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=4), st.lists(st.integers(0, 3), max_size=4))
def test_choosing_rows_keeps_all_columns_and_the_digest_follows_the_keys(keys, rows):
    table = TextTable()
    for number, key in enumerate(keys):
        table.add(f"text {number}", "document", key, label=str(number), domain=f"domain {number}")
    rows = [row for row in rows if row < len(keys)]
    chosen = table.choose(rows)
    assert chosen.texts == [f"text {row}" for row in rows]
    assert chosen.labels == [str(row) for row in rows]
    assert chosen.domains == [f"domain {row}" for row in rows]
    assert (chosen.digest() == table.digest()) == (chosen.keys == table.keys)
