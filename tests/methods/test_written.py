"""What is recorded of written texts, and how they are cleaned and joined with the given ones."""

import json
import logging

import numpy
import pytest

from leafkit.errors import DamageError
from leafkit.files.digest import text_key
from leafkit.methods.written import Written, cleaned, distinct_pairs, kept_on_disk, plain_sentences, with_written
from leafkit.texts.table import TextTable


def table(*texts):
    made = TextTable(repeated=2)
    for role, text in texts:
        made.add(text, role, text_key(role, text), domain="given")
    return made


def written(text, role="query", seed=0):
    return Written(text=text, role=role, seed=seed, generator="g@1", licence="MIT", prompt="p")


def test_cleaning_drops_short_known_and_repeated_texts_and_is_idempotent():
    given = table(("query", "A  known text"), ("document", "other"))
    rows = [written(text) for text in ("ab", "", "a known Text", "new  text\n", "NEW text", "other")]
    once = cleaned(rows, given)
    assert [one.text for one in once] == ["new text", "other"]
    assert cleaned(once, given) == once


def test_written_texts_follow_the_given_ones_which_do_not_change():
    given = table(("query", "one"), ("document", "two"))
    given.pairs = numpy.array([[0, 1]])
    joined = with_written(given, [written("three words here")], "w")
    assert joined.texts == ["one", "two", "three words here"]
    assert joined.domains == ["given", "given", "w"]
    assert joined.keys[2] == text_key("query", "three words here")
    assert (joined.pairs.tolist(), joined.repeated, len(given)) == ([[0, 1]], 2, 2)


def test_sentences_come_from_documents_and_name_them():
    long = "This is a first sentence of it. Short. And here is a second sentence!"
    found = plain_sentences(table(("query", "What is asked in this query?"), ("document", long)), 0)
    assert {one.text for one in found} == {"This is a first sentence of it.", "And here is a second sentence!"}
    assert {one.seed for one in found} == {1}
    assert plain_sentences(table(("document", "A document of just one sentence.")), 0) == []


def test_distinct_pairs_are_counted_over_all_texts():
    assert distinct_pairs(["a b c", "A B d"]) == 3 / 4
    assert distinct_pairs(["alone"]) == 1


def test_the_file_keeps_the_record_of_each_text_and_is_read_the_next_time(caplog):
    def never():
        raise AssertionError("written again")

    with caplog.at_level(logging.INFO, logger="leafkit"):
        first = kept_on_disk("name", ["input", 1], lambda: [written("one text", seed=7)])
    assert kept_on_disk("name", ["input", 1], never) == first
    path = caplog.messages[0].rpartition(" ")[2]
    with open(path) as file:
        row = json.loads(file.read())
    assert {name: row[name] for name in ("text", "seed", "generator", "licence", "prompt", "score")} == {
        "text": "one text",
        "seed": 7,
        "generator": "g@1",
        "licence": "MIT",
        "prompt": "p",
        "score": 0.0,
    }
    assert kept_on_disk("name", ["input", 2], lambda: []) == []
    with open(path, "a") as file:
        file.write('{"text": 1}\n')
    with pytest.raises(DamageError, match=r"is not a record of written texts .*Delete it to write them again"):
        kept_on_disk("name", ["input", 1], never)
