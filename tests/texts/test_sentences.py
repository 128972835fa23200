"""Sentences of documents as queries."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leafkit.texts.read import read_texts
from leafkit.texts.record import Text
from leafkit.texts.sentences import LONGEST, pick_sentence


@given(st.text(max_size=400), st.text(max_size=40))
def test_the_sentence_is_a_part_of_the_document_of_at_most_300_characters(text, title):
    document = Text(id="1", text=text, title=title, payload={"year": 1})
    sentence = pick_sentence(document)
    assert sentence.text in document.full_text
    assert len(sentence.text) <= LONGEST
    assert bool(sentence.text) == bool(document.full_text.strip())
    assert (sentence.id, sentence.role, sentence.title, sentence.payload) == ("1", "query", "", {"year": 1})


def test_the_sentence_is_the_title_or_a_full_sentence_but_no_heading():
    text = "Methods\nIron was given to 40 women. Were 3.5 mg of it enough? Nobody knows! Yes."
    drawn = {pick_sentence(Text(id="1", title="Iron for the tired", text=f"{text}\n{n}")).text for n in range(50)}
    assert drawn == {"Iron was given to 40 women.", "Were 3.5 mg of it enough?"}
    titled = {pick_sentence(Text(id="1", title="Iron for tired women", text=f"{text}\n{n}")).text for n in range(50)}
    assert titled == drawn | {"Iron for tired women"}


def test_chinese_sentences_are_split_without_spaces():
    one, other = "这" * 25 + "。", "那" * 25 + "\uff01"
    assert {pick_sentence(Text(id="1", text=f"{one}{other}{n}")).text for n in range(20)} == {one, other}


def test_a_document_without_a_suitable_sentence_gives_its_longest_piece_or_its_beginning():
    assert pick_sentence(Text(id="1", text="tar", title="archives")).text == "archives"
    assert pick_sentence(Text(id="1", text="x" * 1000)).text == "x" * LONGEST


@pytest.mark.parametrize("folder", [False, True], ids=["file", "BEIR folder"])
def test_a_source_of_sentences_gives_one_query_per_document(tmp_path, folder):
    rows = [
        {"_id": f"d{i}", "title": "A title", "text": f"The first sentence has number {i}. Short."} for i in range(5)
    ]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = tmp_path if folder else tmp_path / "corpus.jsonl"
    texts = list(read_texts(f"sentences:{source}"))
    assert [(text.id, text.role) for text in texts] == [(f"d{i}", "query") for i in range(5)]
    assert texts[3].full_text == "The first sentence has number 3."
