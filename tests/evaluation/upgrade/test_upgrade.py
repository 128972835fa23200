"""The whole of `leafkit.upgrade` on spaces where the answer is known."""

import json

import numpy
import pytest

import leafkit
from leafkit.errors import InputError, OptionError, SpaceError
from leafkit.evaluation.upgrade import bridge
from leafkit.evaluation.upgrade.queries import MOST_QUERIES
from leafkit.vectors.cosine import unit_rows
from tests.evaluation.upgrade.spaces import Model, drawn, rotation, texts_of, write_judged, write_old

TEXTS, OLD = texts_of(300), drawn(300)
QUERIES = [f"question {row}" for row in range(60)]
ASKED = unit_rows(OLD[:60] + 1.2 * drawn(60, seed=8))
EVERY, EVERY_OLD = [*TEXTS, *QUERIES], numpy.concatenate([OLD, ASKED])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Old vectors of the documents alone, of documents and queries, and a collection with judgements."""
    folder = tmp_path_factory.mktemp("old")
    write_old(folder / "old.npy", TEXTS, OLD)
    write_old(folder / "logged.npy", EVERY, EVERY_OLD, ["document"] * 300 + ["query"] * 60)
    write_old(folder / "queries.npy", QUERIES, ASKED, ["query"] * 60)
    write_judged(folder / "beir", TEXTS, QUERIES, range(60))
    return folder


@pytest.fixture(scope="module")
def rotated(place):
    """The report of a new model whose space is the old one rotated, with judgements."""
    new = Model(EVERY, EVERY_OLD @ rotation())
    return leafkit.upgrade(place / "logged.npy", new, data=place / "beir", cache=place / "cache")


def by_way(report):
    return {way.way: way for way in report.ways}


def test_a_rotation_is_bridged_without_a_loss_and_nothing_is_embedded_again(rotated):
    ways = by_way(rotated)
    for way in ("bridged queries", "bridged documents"):
        assert ways[way].of_old.value == pytest.approx(1, abs=0.01)
        assert ways[way].of_reembedding.value == pytest.approx(1, abs=0.01)
        assert ways[way].queries.overlap > 0.99
        assert ways[way].documents.overlap > 0.99
    assert ways["re-embedding"].of_old.value == pytest.approx(1, abs=0.01)
    assert rotated.verdict.way == "bridged queries"


def test_the_control_is_near_chance_on_a_rotated_space(rotated):
    control = by_way(rotated)["unmapped queries"]
    assert control.impossible is None
    assert control.of_old.value < 0.2
    assert control.documents.overlap < 0.1


def test_what_was_measured_is_counted_and_recorded(rotated):
    counts, source = rotated.counts, rotated.provenance
    assert (counts.index, counts.documents, counts.judged, counts.queries, counts.probes) == (300, 300, 60, 60, 300)
    assert counts.fitted == 300  # the logged queries are judged ones, so none of them is fitted on
    assert [entry["name"] for entry in source.data] == ["old", "beir"]
    assert all(len(entry["sha256"]) == 64 for entry in source.data)
    assert (source.seed, source.space["id"]) == (0, rotated.old["id"])
    assert rotated.new["teacher"] == "new"
    read = json.loads(json.dumps(rotated.to_json()))
    assert read["ways"][0]["ndcg"]["value"] == pytest.approx(by_way(rotated)["old model"].ndcg.value)


def test_the_table_says_what_to_take_and_what_is_missing(rotated):
    table = rotated.table()
    assert "take: bridged queries, because it keeps" in table
    assert "to stay as good as today: bridged queries, because it keeps" in table
    assert (
        "rule: the first of bridged queries, bridged documents, re-embedding that keeps at least 95% (--keep)" in table
    )
    assert "a student of the old space: give --student DIR" in table
    assert "--data" not in table
    assert "student (not possible)" in table


def test_an_unrelated_new_space_leaves_re_embedding(place):
    new = Model(EVERY, drawn(360, 24, seed=9))
    report = leafkit.upgrade(place / "old.npy", new)
    ways = by_way(report)
    assert report.verdict.way == "re-embedding"
    assert ways["unmapped queries"].impossible == "the new vectors have the width 24 and the old ones 16"
    assert ways["bridged queries"].documents.overlap < 0.1
    assert (ways["bridged queries"].ndcg, ways["bridged queries"].queries) == (None, None)
    cost = ways["re-embedding"].cost
    assert (cost.texts, cost.rewrites, ways["bridged queries"].cost.texts) == (300, True, 0)
    assert "give judged queries on these documents with --data" in report.table()
    assert "give --old-teacher MODEL while it answers, or --queries" in report.table()


def test_a_better_new_model_is_worth_embedding_again(place):
    """The new model puts each question on its answer, which a map of the old vectors cannot."""
    exact = Model(EVERY, numpy.concatenate([drawn(300, seed=4), drawn(300, seed=4)[:60]]))
    report = leafkit.upgrade(place / "logged.npy", exact, data=place / "beir")
    assert by_way(report)["re-embedding"].ndcg.value == 1
    assert by_way(report)["re-embedding"].of_old.value > 1
    assert (report.verdict.way, report.verdict.is_sure) == ("re-embedding", True)
    assert report.today.way == "re-embedding"


def test_queries_come_with_old_vectors_from_three_places(place, tmp_path):
    """The same figures, whether --queries has the vectors, or the old file holds them, or nothing was asked."""
    new = Model(EVERY, EVERY_OLD @ rotation() + 0.3 * drawn(360, seed=5))
    (tmp_path / "log.txt").write_text("\n".join(QUERIES))
    with_vectors = leafkit.upgrade(place / "old.npy", new, queries=place / "queries.npy")
    looked_up = leafkit.upgrade(place / "logged.npy", new, queries=tmp_path / "log.txt")
    logged = leafkit.upgrade(place / "logged.npy", new)
    unknown = leafkit.upgrade(place / "old.npy", new, queries=tmp_path / "log.txt")
    one, other, third = (by_way(report)["bridged queries"].queries for report in (with_vectors, looked_up, logged))
    assert one.overlap == pytest.approx(other.overlap)
    assert third.overlap == pytest.approx(one.overlap, abs=0.05)  # logged ones are mapped by the folds' bridges
    assert by_way(unknown)["bridged queries"].queries is None
    assert [report.counts.queries for report in (with_vectors, looked_up, logged, unknown)] == [60, 60, 60, 0]
    assert [report.counts.fitted for report in (with_vectors, looked_up, logged)] == [300, 300, 360]


def test_only_a_sample_of_the_documents_is_embedded(place):
    new = Model(EVERY, EVERY_OLD @ rotation())
    report = leafkit.upgrade(place / "old.npy", new, documents=150, seed=3)
    embedded = {text for role, text in new.encoded if role == "document" and text in set(TEXTS)}
    assert 150 <= len(embedded) <= 150 + 32  # by up to 32 texts the old model is recognised
    assert (report.counts.documents, report.counts.index) == (150, 300)
    assert by_way(report)["re-embedding"].cost.texts == 300
    assert MOST_QUERIES == 2000


def test_models_that_write_the_same_vectors_leave_nothing_to_upgrade(place, tiny_teacher, tiny_texts, tmp_path):
    leafkit.embed(tiny_texts, tiny_teacher, tmp_path / "old.parquet")
    with pytest.raises(InputError, match=r"writes the vectors that are in .* so there is nothing to upgrade"):
        leafkit.upgrade(tmp_path / "old.parquet", tiny_teacher)
    copy = Model(TEXTS, OLD, name="copy")
    with pytest.raises(InputError, match="the new model copy writes the vectors that are in"):
        leafkit.upgrade(place / "old.npy", copy)


def test_another_model_is_not_taken_for_the_old_one(place, other_teacher, tiny_teacher, tiny_texts, tmp_path):
    leafkit.embed(tiny_texts, tiny_teacher, tmp_path / "old.parquet")
    with pytest.raises(SpaceError, match=r"does not (write|belong to) the"):
        leafkit.upgrade(tmp_path / "old.parquet", Model(TEXTS, OLD), old_teacher=str(other_teacher))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"documents": 60}, "there are 60 texts to fit a bridge between the spaces on; expected at least 100"),
        ({"train": "static"}, "--train is given without --out"),
        ({"out": "student"}, "--out is given without --train"),
        ({"train": "static", "out": "x", "student": "y"}, "--student gives a student and --train makes one"),
        ({"data": "missing"}, "missing is not a folder in BEIR's layout"),
        ({"keep": 1.5}, "keep is 1.5; expected a number above 0 and at most 1"),
        ({"queries": "missing.txt"}, "missing.txt does not exist"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_message(place, options, said):
    new = Model(EVERY, EVERY_OLD @ rotation())
    with pytest.raises(leafkit.LeafkitError, match=said):
        leafkit.upgrade(place / "old.npy", new, **options)


def test_queries_with_vectors_of_another_width_are_refused(place, tmp_path):
    queries = write_old(tmp_path / "wide.npy", QUERIES, drawn(60, 24))
    with pytest.raises(InputError, match="have the width 24; expected 16, the width of the old vectors"):
        leafkit.upgrade(place / "old.npy", Model(EVERY, EVERY_OLD @ rotation()), queries=queries)


def test_data_must_be_among_the_old_documents(place, tmp_path):
    data = write_judged(tmp_path / "beir", ["unknown", *TEXTS], QUERIES, range(60))
    with pytest.raises(leafkit.LeafkitError, match="holds no vector of 1 of the 301 documents of"):
        leafkit.upgrade(place / "old.npy", Model(EVERY, EVERY_OLD @ rotation()), data=data)


def test_train_and_out_are_checked_before_anything_is_opened(tmp_path):
    with pytest.raises(OptionError, match="--out is given without --train"):
        leafkit.upgrade(tmp_path / "nothing", "nobody", out=tmp_path / "student")


def test_queries_alone_and_a_single_document_are_too_little(place, tmp_path):
    new = Model(EVERY, EVERY_OLD @ rotation())
    write_old(tmp_path / "log.npy", TEXTS, OLD, ["query"] * 300)
    with pytest.raises(InputError, match="there are 0 documents to measure on; expected at least 2"):
        leafkit.upgrade(tmp_path / "log.npy", new, cache=tmp_path / "cache")
    write_old(tmp_path / "one.npy", TEXTS, OLD, ["document"] + ["query"] * 299)
    with pytest.raises(InputError, match="there are 1 documents to measure on"):
        leafkit.upgrade(tmp_path / "one.npy", new, cache=tmp_path / "cache")


def test_only_the_texts_that_a_bridge_was_fitted_on_are_counted(place, tmp_path, monkeypatch):
    monkeypatch.setattr(bridge, "MOST_TEXTS", 120)
    report = leafkit.upgrade(place / "old.npy", Model(EVERY, EVERY_OLD @ rotation()), cache=tmp_path)
    assert report.counts.fitted == 120
