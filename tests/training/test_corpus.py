import json

import pytest

from leafkit.errors import OptionError, TextError
from leafkit.texts.options import TextOptions
from leafkit.training.corpus import read_corpus


def lines(path, texts):
    path.write_text("".join(text + "\n" for text in texts))
    return path


def corpus(texts, valid=None, seed=0, **options):
    return read_corpus(texts, TextOptions(valid=valid, **options), seed=seed)


def test_each_text_counts_once_in_each_role(tmp_path):
    file = lines(tmp_path / "a.txt", ["one", "two", "one", "three"])
    found = corpus([f"query:{file}", f"document:{file}"])
    texts = list(zip(found.train.texts + found.valid.texts, found.train.roles + found.valid.roles, strict=True))
    assert len(texts) == len(set(texts)) == 6
    assert found.train.repeated == 2


def test_a_seeded_fiftieth_is_held_out_and_never_trained_on(tmp_path):
    file = lines(tmp_path / "a.txt", map(str, range(500)))
    found = corpus(file)
    assert (len(found.train), len(found.valid)) == (490, 10)
    assert not set(found.train.texts) & set(found.valid.texts)
    assert corpus(file).valid.texts == found.valid.texts != corpus(file, seed=1).valid.texts


def test_a_text_in_both_roles_is_held_out_in_both(tmp_path):
    both = lines(tmp_path / "both.txt", map(str, range(300)))
    found = corpus([f"document:{both}", f"query:{both}", lines(tmp_path / "more.txt", map(str, range(300, 500)))])
    assert not set(found.train.texts) & set(found.valid.texts)
    assert len(found.train) + len(found.valid) == 800
    assert len(set(found.valid.texts)) == 10
    assert {*found.valid.roles} == {"query", "document"}


def test_validation_texts_given_are_taken_out_of_the_training_texts(tmp_path):
    train, valid = lines(tmp_path / "a.txt", "abcdef"), lines(tmp_path / "b.txt", "aez")
    found = corpus(train, valid)
    assert (found.train.texts, found.valid.texts) == (list("bcdf"), list("aez"))


def test_a_validation_text_is_removed_from_training_in_both_roles(tmp_path):
    train, valid = lines(tmp_path / "a.txt", "abcdef"), lines(tmp_path / "b.txt", "aez")
    assert corpus([f"query:{train}", train], valid).train.texts == [*"bcdf", *"bcdf"]


def test_the_digest_depends_on_text_role_and_order(tmp_path):
    train = lines(tmp_path / "train.txt", "xyz")
    one, other = lines(tmp_path / "a.txt", "abc"), lines(tmp_path / "b.txt", "acb")
    found = [corpus(train, one), corpus(train, other), corpus(train, one, role="query")]
    assert len({each.valid.digest() for each in found}) == 3
    assert corpus(train, one).valid.digest() == found[0].valid.digest()


def test_texts_are_counted_by_role_and_source(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "x", "source": "wiki"}\n{"text": "y"}\n{"text": "z", "role": "query"}\n')
    assert corpus(file).train.counts == {("document", "wiki"): 1, ("document", str(file)): 1, ("query", str(file)): 1}


def test_a_missing_source_raises_before_any_source_is_read(tmp_path):
    with pytest.raises(TextError, match=r"missing\.txt"):
        corpus([lines(tmp_path / "a.txt", "abc"), tmp_path / "missing.txt"])


def test_a_single_distinct_text_raises_because_none_is_left_to_validate_with(tmp_path):
    file = lines(tmp_path / "a.txt", ["one", "one"])
    with pytest.raises(TextError, match="at least 2"):
        corpus([file, f"query:{file}"])


def test_texts_without_queries_give_a_warning(tmp_path, caplog):
    corpus(lines(tmp_path / "a.txt", "abc"), role="query")
    assert not caplog.records
    corpus(lines(tmp_path / "a.txt", "abc"))
    assert "query:FILE" in caplog.text


def test_nothing_left_to_train_on_is_an_error(tmp_path):
    file = lines(tmp_path / "a.txt", "ab")
    with pytest.raises(TextError, match="nothing is left"):
        corpus(file, file)


def test_limits_take_the_first_texts_of_each_role(tmp_path):
    queries = lines(tmp_path / "queries.txt", [f"query {i}" for i in range(9)])
    documents = lines(tmp_path / "documents.txt", [f"document {i}" for i in (0, 0, 1, 2, 3)])
    valid = lines(tmp_path / "valid.txt", [f"held out {i}" for i in range(5)])
    found = corpus([f"document:{documents}", f"query:{queries}"], [f"query:{valid}"], queries=3, documents=2)
    assert found.train.texts == ["document 0", "document 1", "query 0", "query 1", "query 2"]
    assert len(found.valid) == 5
    with pytest.raises(OptionError, match="queries is -1"):
        corpus(queries, queries=-1)


def test_reading_stops_when_all_limits_are_reached(tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "one", "role": "query"}\n{"text": "two", "role": "document"}\n' * 2 + "{broken\n")
    valid = lines(tmp_path / "valid.txt", ["held out"])
    assert len(corpus(file, [f"query:{valid}"], queries=1, documents=1).train) == 2


def test_pairs_of_held_out_texts_are_dropped_and_held_out_files_need_none(tmp_path):
    rows = [{"_id": f"d{i}", "text": f"document {i}", "role": "document"} for i in range(100)]
    rows += [{"_id": f"q{i}", "text": f"query {i}", "role": "query", "pair": f"d{i}"} for i in range(100)]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = corpus(file)
    texts = found.train.texts
    assert {(texts[q], texts[d]) for q, d in found.train.pairs} == {
        (f"query {i}", f"document {i}") for i in range(100) if {f"query {i}", f"document {i}"} <= set(texts)
    }
    assert len(found.train.pairs) < 100
    valid = tmp_path / "valid.jsonl"
    valid.write_text(json.dumps({"text": "held out", "role": "query", "pair": "elsewhere"}) + "\n")
    assert len(corpus(file, valid=valid).train.pairs) == 100
