from __future__ import annotations

import logging

import pytest

from leafkit.errors import OptionError, TextError
from leafkit.evaluation.collection import collection_digest, read_collection


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "title": "T", "text": "x"}\n{"_id": "b", "text": "y"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "one"}\n{"_id": "r", "text": "two"}\n')
    write_qrels(tmp_path, "q\ta\t1\nr\ta\t0\n")
    return tmp_path


def write_qrels(folder, rows, split="test"):
    (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")


def test_a_collection_holds_only_queries_with_a_relevant_document(folder):
    read = read_collection(folder)
    assert (read.query_ids, read.queries) == (["q"], ["one"])
    assert read.documents == ["T x", "y"]
    assert read.name == folder.name


def test_a_missing_split_is_refused_with_the_available_ones(folder):
    write_qrels(folder, "q\ta\t1\n", split="dev")
    with pytest.raises(OptionError, match="split 'train'; expected one of: dev, test"):
        read_collection(folder, "train")


def test_a_folder_without_judgements_is_refused(folder):
    (folder / "qrels" / "test.tsv").unlink()
    with pytest.raises(OptionError, match="no judgements for the split 'test'; expected one of: none"):
        read_collection(folder)


def test_a_folder_in_another_layout_is_refused_with_the_expected_files(tmp_path):
    with pytest.raises(OptionError, match=r"not a folder in BEIR's layout; expected corpus\.jsonl"):
        read_collection(tmp_path)


def test_judgements_of_other_documents_are_refused(folder):
    write_qrels(folder, "q\tz\t1\n")
    with pytest.raises(TextError, match="none of the 1 judged documents is in the corpus"):
        read_collection(folder)


def test_judgements_of_other_queries_are_refused(folder):
    write_qrels(folder, "z\ta\t1\n")
    with pytest.raises(TextError, match="Check that both files use the same query ids"):
        read_collection(folder)


def test_judgements_without_a_relevant_document_are_refused(folder):
    write_qrels(folder, "q\ta\t0\n")
    with pytest.raises(TextError, match=r"no query of queries\.jsonl has a relevant document in qrels/test\.tsv"):
        read_collection(folder)


def test_a_judged_query_without_text_is_ignored_with_a_warning(folder, caplog):
    write_qrels(folder, "q\ta\t1\nlost\ta\t1\n")
    with caplog.at_level(logging.WARNING, "leafkit"):
        assert read_collection(folder).query_ids == ["q"]
    assert "ignored 1 judged queries without a text" in caplog.text


def test_a_relevant_document_with_its_querys_id_is_warned_about(folder, caplog):
    (folder / "queries.jsonl").write_text('{"_id": "a", "text": "one"}\n')
    write_qrels(folder, "a\ta\t1\n")
    with caplog.at_level(logging.WARNING, "leafkit"):
        read_collection(folder)
    assert "removed from the results, as BEIR does" in caplog.text


def test_invalid_documents_are_refused_unless_skipped(folder):
    with open(folder / "corpus.jsonl", "a") as file:
        file.write('{"_id": "c", "text": ""}\n')
    with pytest.raises(TextError, match=r"corpus\.jsonl:3"):
        read_collection(folder)
    assert read_collection(folder, skip_bad=True).document_ids == ["a", "b"]


def test_repeated_queries_are_refused_unless_skipped(folder):
    lines = (folder / "queries.jsonl").read_text()
    (folder / "queries.jsonl").write_text(lines + lines)
    with pytest.raises(TextError, match=r"queries\.jsonl:3: the id \'q\' also occurs"):
        read_collection(folder)
    once = read_collection(folder, skip_bad=True)
    (folder / "queries.jsonl").write_text(lines)
    assert once.queries == read_collection(folder).queries


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_the_digest_covers_corpus_queries_and_the_splits_judgements_alone(folder, name):
    before = collection_digest(folder, "test")
    write_qrels(folder, "q\ta\t1\n", split="dev")
    assert collection_digest(folder, "test") == before
    with open(folder / name, "a") as file:
        file.write("\n")
    assert collection_digest(folder, "test") != before
