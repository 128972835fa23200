"""Bytes per document against nDCG@10: lossless formats keep everything, and points have their cost."""

import json
from xml.etree import ElementTree

import numpy
import pytest
from typer.testing import CliRunner

import leafkit
from eval.frontier import __main__ as frontier
from eval.frontier import measure
from eval.frontier.__main__ import table
from eval.frontier.formats import BYTES, StorageFormat, storage_formats
from eval.frontier.measure import FormatScores, frontier_points
from leafkit.errors import OptionError, SpaceError
from leafkit.evaluation.collection import read_collection
from leafkit.teachers.open import open_teacher


@pytest.fixture(scope="session")
def student(tmp_path_factory, tiny_teacher, tiny_texts, narrow_model):
    """A student half as wide as its teacher."""
    folder = tmp_path_factory.mktemp("frontier")
    leafkit.distill(tiny_texts, tiny_teacher, str(narrow_model), folder / "student", epochs=0, cache=folder / "cache")
    return folder / "student"


@pytest.fixture
def collection(tmp_path, sentences):
    """Every second sentence is a query, answered by itself and by the next sentence."""
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(sentences)]
    queries = [{"_id": f"q{i}", "text": sentences[i]} for i in range(0, 40, 2)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    judged = "".join(f"q{i}\td{i + 1}\t1\nq{i}\td{i}\t1\n" for i in range(0, 40, 2))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return folder


def run(arguments):
    app = frontier.typer.Typer()
    app.command()(frontier.main)
    return CliRunner().invoke(app, [str(part) for pair in arguments.items() for part in pair])


def test_another_query_prompt_than_the_students_raises_an_error(collection, tiny_teacher, student, tmp_path):
    arguments = {"--data": collection, "--teacher": tiny_teacher, "--student": student, "--out": tmp_path / "out.json"}
    result = run({**arguments, "--query-prompt": "another: ", "--cache": tmp_path / "cache"})
    assert isinstance(result.exception, SpaceError)
    assert "query_prompt" in str(result.exception)
    assert not (tmp_path / "out.json").exists()


def test_a_full_fold_and_every_rotation_keep_everything_and_have_a_cost(collection, tiny_teacher, student, tmp_path):
    arguments = {"--data": collection, "--teacher": tiny_teacher, "--student": student, "--out": tmp_path / "out.json"}
    arguments |= {"--dims": "8", "--precisions": "float32,binary", "--cache": tmp_path / "cache"}
    arguments["--plot"] = tmp_path / "out.svg"
    result = run(arguments)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "out.json").read_text())
    found = {(p["way"]["coordinates"], p["way"]["precision"], p["dim"]): p for p in content["points"]}
    for coordinates, dim in (("teacher", 32), ("pca", 32), ("fold", 17)):
        point = found[coordinates, "float32", dim]
        assert point["same_100"] == pytest.approx(1, abs=0.1)
        assert point["share"] == pytest.approx(1, abs=1e-6)
        assert point["bytes"] == 4 * dim
    assert found["fold", "float32", 8]["share"] < 1.2
    assert found["fold+itq", "binary", 8]["bytes"] == 9
    assert content["provenance"]["queries"] == {"beir": 20}
    assert content["provenance"]["commit"]
    picture = ElementTree.parse(tmp_path / "out.svg").getroot()
    assert picture.tag.endswith("svg")
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}path"))) > 10


def test_shares_are_means_of_ratios_by_hand():
    whole, half = (StorageFormat(coordinates=name, dim=None, precision="float32") for name in ("teacher", "pca"))
    same = numpy.ones(2)
    collections = {
        "a": [
            FormatScores(whole, 4, numpy.array([1.0, 0.5]), same),
            FormatScores(half, 4, numpy.array([0.5, 0.25]), same),
        ],
        "b": [
            FormatScores(whole, 4, numpy.array([0.4, 0.4]), same),
            FormatScores(half, 4, numpy.array([0.4, 0.4]), same * 0),
        ],
    }
    first, second = frontier_points(collections, seed=0)
    assert first.share == 1
    assert (first.share_interval.low, first.share_interval.high) == (1, 1)
    assert second.share == pytest.approx((0.5 + 1) / 2)
    assert second.same_100 == 0.5
    assert second.ndcg == {"a": 0.375, "b": 0.4}
    assert "75.0%" in table([first, second])


def test_every_format_has_a_cost():
    values = numpy.ones(2)
    plan = list(storage_formats([2], list(BYTES)))
    found = frontier_points({"a": [FormatScores(storage, 8, values, values) for storage in plan]}, seed=0)
    costs = {point.storage.precision: (point.bytes, point.memory_bytes) for point in found}
    assert costs == {
        "float32": (32, 32),
        "int8": (8, 8),
        "int4+none": (4, 4),
        "binary": (9, 1),
        "binary+none": (1, 1),
    }
    with pytest.raises(OptionError, match="precision is 'float16'; expected one of float32"):
        list(storage_formats([2], ["float16"]))


@pytest.mark.parametrize("precisions", [["int8"], ["binary", "float32"]])
def test_the_first_format_is_full_float32_vectors(precisions):
    assert next(storage_formats([2], precisions)) == StorageFormat(coordinates="teacher", dim=None, precision="float32")


def test_the_seed_decides_rotations(collection, tiny_teacher, student, monkeypatch):
    seeds = []

    def stored_vectors(*_, seed):
        seeds.append(seed)

    monkeypatch.setattr(measure, "stored_vectors", stored_vectors)
    opened = open_teacher(tiny_teacher)
    formats = list(storage_formats([2], ["binary"]))
    measure.measure_formats(read_collection(collection, "test"), formats, opened, opened, student, seed=7)
    assert {*seeds} == {7}
