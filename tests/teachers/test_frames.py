"""The function for Spark: each frame gets the vectors of its texts, and one encoder serves all frames of a process."""

import importlib.util
import sys
from pathlib import Path

import numpy
import pandas
import pytest

from leafkit.errors import OptionError, TextError
from leafkit.teachers import frames as module
from leafkit.teachers.frames import embed_frames


@pytest.fixture
def opened(monkeypatch, hash_teacher):
    """The names of the encoders that were opened."""
    names = []
    monkeypatch.setattr(module, "open_with", lambda name, _options: names.append(name) or hash_teacher())
    module._opened.cache_clear()
    yield names
    module._opened.cache_clear()


def test_every_row_gets_the_vector_of_its_title_and_text(opened, hash_teacher):
    frames = [
        pandas.DataFrame({"id": [1, 2], "title": ["A title", None], "text": ["with text", "text"]}),
        pandas.DataFrame({"id": [], "title": [], "text": []}),
        pandas.DataFrame({"id": [3], "title": ["x"], "text": ["y"]}),
    ]
    one, none, two = embed_frames("some/model")(iter(frames))
    expected = hash_teacher().encode(["A title with text", "text", "x y"], "document")
    assert numpy.array_equal(numpy.array([*one["vector"], *two["vector"]]), expected)
    assert (len(none), list(one["id"]), one["vector"][0].dtype) == (0, [1, 2], numpy.float32)
    assert opened == ["some/model"]


def test_other_columns_and_the_role_are_named(opened, hash_teacher):
    frame = pandas.DataFrame({"body": ["text"]})
    (found,) = embed_frames("some/model", role="query", text="body", vector="embedding")(iter([frame]))
    assert numpy.array_equal(found["embedding"][0], hash_teacher().encode(["text"], "query")[0])
    list(embed_frames("some/model", max_length=8)(iter([frame.rename(columns={"body": "text"})])))
    assert len(opened) == 2


def test_what_is_no_text_and_what_is_no_option_is_refused(opened):
    for frame, message in (
        ({"text": ["a", None]}, r"the column 'text' holds (None|nan) in row 2 of a batch; expected a text\."),
        ({"body": ["a"]}, r"there is no column 'text' among \['body'\]\."),
    ):
        with pytest.raises(TextError, match=message):
            list(embed_frames("some/model")(iter([pandas.DataFrame(frame)])))
    with pytest.raises(OptionError, match=r"unknown role 'passage'"):
        embed_frames("some/model", role="passage")
    with pytest.raises(OptionError, match=r"embed_frames has no option 'max_lenght'"):
        embed_frames("some/model", max_lenght=8)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not importlib.util.find_spec("pyspark"), reason="pyspark is not installed")
def test_spark_runs_it_on_its_executors(monkeypatch, tmp_path):
    from pyspark.sql import SparkSession

    import leafkit

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        documents = spark.createDataFrame([(f"d{i}", f"how to copy file {i}") for i in range(100)], ["id", "text"])
        schema = "id string, text string, vector array<float>"
        made = documents.repartition(4).mapInPandas(embed_frames("bge-small-leaf-table"), schema)
        made.write.parquet(str(tmp_path / "vectors"))
    finally:
        spark.stop()
    index = leafkit.build_index(tmp_path / "vectors", None, tmp_path / "index", student="bge-small-leaf-table")
    hits = leafkit.Searcher.open(index).search(leafkit.QueryEncoder.open("bge-small-leaf-table").encode(["x"], "query"))
    assert len(hits[0].ids) == 10
