"""The texts of the laboratory: reading, choosing and splitting them."""

import gzip
import json

import numpy
import pytest

from eval.mechanism.texts import numbered, read
from leafkit.errors import InputError


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_chosen_texts_keep_their_facts_and_only_whole_pairs(texts):
    rows = numpy.array([3, 2, 40, 5])
    chosen = texts.choose(rows)
    assert chosen.texts == ("text 3", "text 2", "text 40", "text 5")
    assert numpy.array_equal(chosen.vectors, texts.vectors[rows])
    assert numpy.array_equal(chosen.labels, texts.labels[rows])
    # Of the pairs (2, 3) and (4, 5), only the first has both texts.
    assert chosen.pairs.tolist() == [[1, 0]]


def test_a_split_is_disjoint_and_drawn_from_the_seed(texts):
    train, held_out = texts.split(0, 200, 40)
    assert set(train.texts) | set(held_out.texts) == set(texts.texts)
    assert texts.split(0, 200, 40)[1].texts == held_out.texts
    assert texts.split(1, 200, 40)[1].texts != held_out.texts


def test_a_split_larger_than_the_texts_is_refused(texts):
    with pytest.raises(InputError, match="got 240 texts; expected at least 241"):
        texts.split(0, 200, 41)


def test_squad_pairs_name_the_rows_of_query_and_document(tmp_path):
    folder = tmp_path / "bench" / "squad-dev"
    write_lines(folder / "queries.jsonl.gz", [{"_id": "a", "text": "who"}, {"_id": "b", "text": "what"}])
    write_lines(folder / "corpus.jsonl.gz", [{"_id": "x", "text": "one"}, {"_id": "y", "text": "two"}])
    (folder / "qrels").mkdir()
    (folder / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nb\tx\t1\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\na\ty\t1\n")
    raw = read("squad", tmp_path)
    assert [(raw.texts[query], raw.texts[document]) for query, document in raw.pairs] == [
        ("what", "one"),
        ("who", "two"),
    ]
    assert raw.roles == ["query", "query", "document", "document"]


def test_nfcorpus_keeps_the_judged_queries_with_their_split_and_the_beginning_of_documents(tmp_path):
    folder = tmp_path / "bench" / "nfcorpus"
    write_lines(folder / "queries.jsonl.gz", [{"_id": name, "text": f"ask {name}"} for name in "abc"])
    write_lines(
        folder / "corpus.jsonl.gz", [{"_id": "x", "title": "one", "text": "y" * 400}, {"_id": "z", "text": "no"}]
    )
    (folder / "qrels").mkdir()
    for split, lines in (("train", "a\tx\t2\na\tz\t1\n"), ("dev", ""), ("test", "c\tz\t1\n")):
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    raw = read("nfcorpus", tmp_path)
    assert raw.texts == ["ask a", "ask c", "one " + 296 * "y", "no"]
    assert raw.domains == ["train", "test", "corpus", "corpus"]
    assert raw.pairs == [(0, 2), (0, 3), (1, 3)]


def test_the_mix_takes_short_texts_of_its_sources_once(tmp_path):
    rows = [
        {"text": "short", "role": "query", "source": "wordnet"},
        {"text": "short", "role": "query", "source": "wordnet"},
        {"text": "x" * 201, "role": "document", "source": "wordnet"},
        {"text": "other", "role": "document", "source": "novels"},
    ]
    write_lines(tmp_path / "train" / "train-00.jsonl.gz", rows)
    raw = read("mix", tmp_path)
    assert (raw.texts, raw.domains) == (["short"], ["wordnet"])


def test_missing_data_and_unknown_sets_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*banking77/train.jsonl.gz: No such file.* data sets below"):
        read("banking77", tmp_path)
    with pytest.raises(InputError, match="no texts 'bank'; expected one of banking77"):
        read("bank", tmp_path)


def test_names_are_numbered_alphabetically_and_nothing_is_minus_one():
    assert numbered(["b", "", "a", "b"]).tolist() == [1, -1, 0, 1]
