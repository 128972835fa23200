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


def subset_ids(documents, corpus=CORPUS, judged=JUDGED):
    return [text.id for text in choose_documents(iter(corpus), judged, documents, name="tiny").documents]


@pytest.mark.parametrize("documents", [1, 3, 4, 60])
def test_every_judged_document_is_chosen(documents):
    assert set(subset_ids(documents)) >= JUDGED - {"elsewhere"}


def test_the_others_are_the_documents_with_the_lowest_hash_of_the_id():
    others = sorted({text.id for text in CORPUS} - JUDGED, key=lambda id_: hashlib.sha256(id_.encode()).hexdigest())
    assert set(subset_ids(13)) == JUDGED - {"elsewhere"} | set(others[:10])


def test_a_choice_worked_by_hand():
    """The hashes come from `printf d7 | sha256sum`, and so on for ten ids."""
    assert subset_ids(4, CORPUS[:10], set()) == ["d0", "d5", "d8", "d6"]


def test_the_order_of_the_corpus_does_not_matter():
    shuffled = random.Random(0).sample(CORPUS, len(CORPUS))
    assert shuffled != CORPUS
    assert subset_ids(20, shuffled) == subset_ids(20)


def test_a_smaller_subset_is_part_of_a_larger_one():
    subsets = [set(subset_ids(documents)) for documents in (5, 20, 21, 80)]
    assert [len(one) for one in subsets] == [5, 20, 21, 80]
    assert subsets == sorted(subsets, key=len)
    assert all(small < large for small, large in pairwise(subsets))


@pytest.mark.parametrize("documents", [100, 101, 10_000])
def test_a_corpus_of_at_most_that_size_is_returned_whole(documents):
    found = choose_documents(iter(CORPUS), JUDGED, documents, name="tiny")
    assert (found.documents, found.corpus_size) == (CORPUS, 100)


def test_more_judged_documents_than_requested_are_all_kept_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING, "leafkit"):
        assert set(subset_ids(2)) == JUDGED - {"elsewhere"}
    assert "tiny: kept all 3 judged documents, more than the 2 requested" in caplog.text


@pytest.fixture
def folder(tmp_path):
    """Twenty documents. The test split judges d0 as relevant, the dev split d1 as not relevant."""
    (tmp_path / "qrels").mkdir()
    rows = [{"_id": text.id, "text": text.text} for text in CORPUS[:20]]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "one"}\n')
    for split, row in (("test", "q\td0\t1"), ("dev", "q\td1\t0")):
        (tmp_path / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{row}\n")
    return tmp_path


def test_the_judged_documents_of_all_splits_are_kept(folder):
    assert judged_documents(folder) == {"d0", "d1"}
    read = read_collection(folder, documents=2)
    assert (set(read.document_ids), read.corpus_size) == ({"d0", "d1"}, 20)


def test_the_hash_of_a_subset_covers_the_judgements_of_all_splits(folder):
    whole = read_collection(folder)
    assert (len(whole.document_ids), whole.corpus_size) == (20, 20)
    before = read_collection(folder, documents=5).sha256
    with open(folder / "qrels" / "dev.tsv", "a") as file:
        file.write("q\td7\t0\n")
    assert read_collection(folder).sha256 == whole.sha256
    assert read_collection(folder, documents=5).sha256 != before


def test_an_invalid_split_is_named_by_file_and_line(folder):
    (folder / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq\td1\tmuch\n")
    with pytest.raises(TextError, match=r"dev\.tsv:2: the score is 'much'"):
        read_collection(folder, documents=5)


def test_an_impossible_size_is_refused_before_a_model_is_opened(folder):
    from leafkit.evaluation.evaluate import evaluate

    with pytest.raises(OptionError, match="documents is 0; expected at least 1"):
        evaluate(folder, teacher="no-such-teacher", documents=0)
    with pytest.raises(OptionError, match=r"no folder is given\. Add --data or remove --documents"):
        evaluate(mteb="x", teacher="no-such-teacher", documents=5)
