import json

import pytest

from eval.experiments.table import Choice
from eval.experiments.texts import choose
from leafkit.errors import OptionError, TextError


@pytest.fixture
def rows(tmp_path):
    found = [
        {"text": f"{'q' if i % 3 else 'd'}{i}" + "x" * i, "role": "query" if i % 3 else "document"} for i in range(30)
    ]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*found[:4], *found]))
    return found


def chosen(tmp_path, **fields):
    file = (str(tmp_path / "all.jsonl"),)
    found = choose(Choice(files=file, valid=file, **fields), tmp_path)
    return found, [json.loads(line) for line in found.train.read_text().splitlines()]


def test_the_first_of_each_role_that_are_short_enough_are_taken_once_and_in_order(rows, tmp_path):
    found, taken = chosen(tmp_path, queries=5, documents=3, longest=20, held_out=4)
    assert [(row["text"], row["role"]) for row in taken] == [
        (row["text"], row["role"])
        for row in rows
        if len(row["text"]) <= 20
        and row in [r for r in rows if r["role"] == "query"][:5] + [rows[i] for i in (0, 3, 6)]
    ]
    assert (found.facts["train"]["query"], found.facts["train"]["document"]) == (5, 3)
    assert (found.facts["valid"]["query"], found.facts["valid"]["document"]) == (2, 2)


def test_no_limit_takes_all_and_none_of_a_role_none(rows, tmp_path):
    assert len(chosen(tmp_path)[1]) == 30
    assert {row["role"] for row in chosen(tmp_path, queries=0)[1]} == {"document"}


def test_the_same_choice_is_the_same_file_and_another_another(rows, tmp_path):
    one, same, other = (chosen(tmp_path, queries=count)[0] for count in (4, 4, 5))
    assert one == same
    assert one.train != other.train
    assert one.identity != other.identity


def test_too_few_texts_and_no_files_are_refused(rows, tmp_path):
    with pytest.raises(TextError, match="got 10 texts of the role document, wanted 11"):
        chosen(tmp_path, documents=11)
    with pytest.raises(OptionError, match="names no texts"):
        choose(Choice(), tmp_path)
