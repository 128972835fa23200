import json

import pytest

from eval.studies.table import TextSelection
from eval.studies.texts import select_texts
from leafkit.errors import OptionError, TextError


@pytest.fixture
def rows(tmp_path):
    found = [
        {"text": f"{'q' if i % 3 else 'd'}{i}" + "x" * i, "role": "query" if i % 3 else "document"} for i in range(30)
    ]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*found[:4], *found]))
    return found


def select(tmp_path, **fields):
    file = (str(tmp_path / "all.jsonl"),)
    texts = select_texts(TextSelection(files=file, valid=file, **fields), tmp_path)
    return texts, [json.loads(line) for line in texts.train.read_text().splitlines()]


def test_the_first_short_texts_of_each_role_are_selected_once_and_in_order(rows, tmp_path):
    texts, selected = select(tmp_path, queries=5, documents=3, longest=20, held_out=4)
    assert [(row["text"], row["role"]) for row in selected] == [
        (row["text"], row["role"])
        for row in rows
        if len(row["text"]) <= 20
        and row in [r for r in rows if r["role"] == "query"][:5] + [rows[i] for i in (0, 3, 6)]
    ]
    assert (texts.facts["train"]["query"], texts.facts["train"]["document"]) == (5, 3)
    assert (texts.facts["valid"]["query"], texts.facts["valid"]["document"]) == (2, 2)
    assert texts.count == 8


def test_no_limit_selects_all_texts_and_zero_selects_none_of_a_role(rows, tmp_path):
    assert len(select(tmp_path)[1]) == 30
    assert {row["role"] for row in select(tmp_path, queries=0)[1]} == {"document"}


def test_equal_selections_share_a_file_and_different_ones_do_not(rows, tmp_path):
    first, same, other = (select(tmp_path, queries=count)[0] for count in (4, 4, 5))
    assert first == same
    assert first.train != other.train
    assert first.identity != other.identity


def test_too_few_texts_or_no_files_raise_an_error(rows, tmp_path):
    with pytest.raises(TextError, match="got 10 texts with the role document; expected at least 11"):
        select(tmp_path, documents=11)
    with pytest.raises(OptionError, match="names no texts or no validation texts"):
        select_texts(TextSelection(), tmp_path)
