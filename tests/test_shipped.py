"""A student that ships with leafkit is opened by its name; the tests ship a tiny student."""

import json
import shutil
import subprocess
import sys

import numpy
import pytest

import leafkit
from leafkit import shipped as home
from leafkit.errors import InputError, OptionError, OutputError
from leafkit.index.encoder_files import copy_query_encoder
from leafkit.shipped import resolve_recipe, resolve_student, shipped_students
from leafkit.students.encoder import open_student
from leafkit.students.folder import read_student


@pytest.fixture
def shipped(exported, tmp_path, monkeypatch):
    """Add a student tiny-leaf to the package data: the files of a search host, and a model card."""
    from leafkit import models

    folder = tmp_path / "package" / "models"
    copy_query_encoder(exported, folder / "tiny-leaf", precision="int8")
    (folder / "tiny-leaf" / "README.md").write_text("# tiny-leaf\n")
    own = list(models.__spec__.submodule_search_locations)
    monkeypatch.setattr(models.__spec__, "submodule_search_locations", [*own, str(folder)])
    monkeypatch.chdir(tmp_path)
    return folder / "tiny-leaf"


@pytest.fixture
def index(shipped, tiny_teacher, sentences, tmp_path):
    rows = [{"_id": f"doc-{i}", "text": text} for i, text in enumerate(sentences[:60])]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return leafkit.build_index("docs.jsonl", tiny_teacher, "docs.index", student="tiny-leaf")


def test_every_function_accepts_the_name_of_a_shipped_student(shipped, index, exported, sentences):
    expected = leafkit.QueryEncoder.open(exported).encode(sentences[:5])
    assert numpy.array_equal(leafkit.QueryEncoder.open("tiny-leaf").encode(sentences[:5]), expected)
    inside = leafkit.Searcher.open(index)
    assert inside.manifest.encoder == {"student": "tiny-leaf"}
    named = leafkit.Searcher.open(index, encoder="tiny-leaf")
    for text in sentences[:5]:
        assert named.search(text).ids == inside.search(text).ids
    assert read_student("tiny-leaf").space == read_student(exported).space
    assert "golden vectors" in leafkit.info("tiny-leaf")["health"]
    assert leafkit.info("tiny-leaf")["weights"] == "int8 ONNX"
    assert leafkit.info(exported)["weights"] == "torch, int8 ONNX, float32 ONNX"


def test_an_existing_path_overrides_the_name(shipped, copied, tmp_path):
    assert resolve_student("tiny-leaf") == shipped
    shutil.move(copied, tmp_path / "tiny-leaf")
    assert read_student("tiny-leaf").path.resolve() == tmp_path / "tiny-leaf"
    assert not read_student("tiny-leaf").runtime_only


def test_a_folder_with_the_name_of_a_shipped_student_is_used_and_said_once(shipped, copied, tmp_path, caplog):
    home._warn_of_local.cache_clear()
    shutil.move(copied, tmp_path / "tiny-leaf")
    for name in ("./tiny-leaf", str(tmp_path / "tiny-leaf"), shipped):
        read_student(name)
    assert not caplog.records
    for _ in range(2):
        read_student("tiny-leaf")
    assert [record.message for record in caplog.records] == [
        "using tiny-leaf in the current folder, not the student of that name that ships with leafkit"
    ]


@pytest.mark.parametrize("name", ["tiny", "quickstart", "recipes", "x/tiny-leaf", "../tiny-leaf", "."])
def test_other_strings_are_not_names(shipped, name):
    assert resolve_student(name).as_posix() == name


@pytest.mark.parametrize("opener", [read_student, leafkit.QueryEncoder.open, leafkit.info])
def test_an_unknown_name_raises_with_the_known_names(shipped, opener):
    assert "tiny-leaf" in shipped_students()
    with pytest.raises(InputError, match=r"(?s)tiny-laef .*\nStudents that ship with leafkit: .*tiny-leaf\.$"):
        opener("tiny-laef")


def test_opening_a_student_without_torch_weights_as_a_torch_model_raises(shipped):
    with pytest.raises(InputError, match=r"no torch weights\. Use it to search .* --encoder onnx-int8"):
        open_student("tiny-leaf")


def test_a_student_without_torch_weights_embeds_texts_with_onnxruntime_alone(shipped, exported, sentences, tmp_path):
    """The command line writes the query vectors for another database, on a host without torch."""
    (tmp_path / "questions.txt").write_text("\n".join(sentences[:5]))
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'transformers', 'sentence_transformers']))\n"
        f"sys.argv = ['leafkit', 'embed', 'query:questions.txt', '--encoder', {str(shipped)!r}, '--out', 'q.npy',\n"
        "    '--precision', 'float32']\n"
        "from leafkit.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = leafkit.QueryEncoder.open(exported).encode(sentences[:5], "query")
    assert numpy.array_equal(numpy.load("q.npy"), expected)
    assert leafkit.open_teacher("q.npy").approximate


def test_documents_that_a_student_embeds_are_no_teacher(shipped, tiny_texts, tmp_path):
    leafkit.embed(tiny_texts, "tiny-leaf", tmp_path / "v.parquet")
    for teacher in ("tiny-leaf", tmp_path / "v.parquet"):
        with pytest.raises(OptionError, match="a student cannot teach"):
            leafkit.distill(tiny_texts, teacher, "static", tmp_path / "out")


def test_a_failed_export_by_name_creates_no_folder(shipped):
    with pytest.raises(OutputError, match=r"tiny-leaf.onnx already exists"):
        leafkit.export("tiny-leaf")
    assert resolve_student("tiny-leaf") == shipped


def test_a_shipped_student_is_evaluated_by_name(shipped, index, exported, tiny_teacher, sentences, tmp_path):
    data = tmp_path / "judged"
    (data / "qrels").mkdir(parents=True)
    shutil.copy("docs.jsonl", data / "corpus.jsonl")
    queries = [{"_id": f"q{i}", "text": sentences[i][:-3]} for i in range(5)]
    (data / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    lines = "".join(f"q{i}\tdoc-{i}\t1\n" for i in range(5))
    (data / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    options = {"teacher": tiny_teacher, "modes": ["asymmetric"]}
    by_name = leafkit.evaluate(data, student="tiny-leaf", **options)
    by_path = leafkit.evaluate(data, student=exported, encoder="onnx-int8", **options)
    assert by_name.rows[0].student == "tiny-leaf"
    assert by_name.provenance.encoder == "onnx-int8"
    assert by_name.rows[0].metrics == by_path.rows[0].metrics


def test_a_shipped_recipe_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert leafkit.read_recipe("bge-small-leaf")["student"] == "teacher:layers=6,pick=greedy,pooling=mean"
    assert resolve_recipe("./bge-small-leaf.toml").as_posix() == "bge-small-leaf.toml"
