from __future__ import annotations

import hashlib
import json
import logging
import random
from itertools import pairwise

import pytest

from leafkit.errors import OptionError, TextError
from leafkit.evaluation.collection import read_collection
from leafkit.evaluation.corpus_subset import choose_documents, judged_documents
from leafkit.texts.record import Text

CORPUS = [Text(id=f"d{number}", text=f"text {number}") for number in range(100)]
JUDGED = {"d3", "d50", "d99", "elsewhere"}


def cut(documents, corpus=CORPUS, judged=JUDGED):
    return [text.id for text in choose_documents(iter(corpus), judged, documents, name="tiny").documents]


@pytest.mark.parametrize("documents", [1, 3, 4, 60])
def test_every_judged_document_is_kept(documents):
    assert set(cut(documents)) >= JUDGED - {"elsewhere"}


def test_the_rest_are_those_whose_id_has_the_lowest_hash():
    others = sorted({text.id for text in CORPUS} - JUDGED, key=lambda id_: hashlib.sha256(id_.encode()).hexdigest())
    assert set(cut(13)) == JUDGED - {"elsewhere"} | set(others[:10])


def test_the_choice_is_the_same_on_every_machine():
    """Worked by hand: `printf d7 | sha256sum` and so on for ten ids."""
    assert cut(4, CORPUS[:10], set()) == ["d0", "d5", "d8", "d6"]


def test_the_order_of_the_corpus_changes_nothing():
    shuffled = random.Random(0).sample(CORPUS, len(CORPUS))
    assert shuffled != CORPUS
    assert cut(20, shuffled) == cut(20)


def test_a_smaller_cut_is_part_of_a_larger_one():
    cuts = [set(cut(documents)) for documents in (5, 20, 21, 80)]
    assert [len(one) for one in cuts] == [5, 20, 21, 80]
    assert cuts == sorted(cuts, key=len)
    assert all(small < large for small, large in pairwise(cuts))


@pytest.mark.parametrize("documents", [100, 101, 10_000])
def test_a_corpus_that_is_not_larger_stays_as_it_is(documents):
    found = choose_documents(iter(CORPUS), JUDGED, documents, name="tiny")
    assert (found.documents, found.total) == (CORPUS, 100)


def test_more_judged_than_wanted_are_all_kept_and_told(caplog):
    with caplog.at_level(logging.WARNING, "leafkit"):
        assert set(cut(2)) == JUDGED - {"elsewhere"}
    assert "tiny: 3 documents are judged, all are kept, more than the 2 wanted" in caplog.text


@pytest.fixture
def folder(tmp_path):
    """Twenty documents, of which the test split judges d0 and the dev split d1, as not relevant."""
    (tmp_path / "qrels").mkdir()
    rows = [{"_id": text.id, "text": text.text} for text in CORPUS[:20]]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "one"}\n')
    for split, row in (("test", "q\td0\t1"), ("dev", "q\td1\t0")):
        (tmp_path / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{row}\n")
    return tmp_path


def test_documents_of_all_splits_are_judged(folder):
    assert judged_documents(folder) == {"d0", "d1"}
    read = read_collection(folder, documents=2)
    assert (set(read.document_ids), read.total) == ({"d0", "d1"}, 20)


def test_a_cut_is_one_of_its_own_in_the_provenance(folder):
    whole = read_collection(folder)
    assert (len(whole.document_ids), whole.total) == (20, 20)
    before = read_collection(folder, documents=5).sha256
    with open(folder / "qrels" / "dev.tsv", "a") as file:
        file.write("q\td7\t0\n")
    assert read_collection(folder).sha256 == whole.sha256
    assert read_collection(folder, documents=5).sha256 != before


def test_a_split_that_cannot_be_read_is_named(folder):
    (folder / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq\td1\tmuch\n")
    with pytest.raises(TextError, match=r"dev\.tsv:2: got the score 'much'"):
        read_collection(folder, documents=5)


def test_an_impossible_number_is_refused_before_anything_is_opened(folder):
    from leafkit.evaluation.evaluate import evaluate

    with pytest.raises(OptionError, match="got 0 documents to measure on, wanted at least 1"):
        evaluate(folder, teacher="no-such-teacher", documents=0)
    with pytest.raises(OptionError, match="none is given; add --data"):
        evaluate(mteb="x", teacher="no-such-teacher", documents=5)
