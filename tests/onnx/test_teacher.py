import json
import os
import subprocess
import sys

import numpy
import pytest

import leafkit
from leafkit.errors import DamageError, ExportError, InputError, OptionError, OutputError
from leafkit.files.digest import sha256_file
from leafkit.teachers.exported import MARKER
from leafkit.vectors.cosine import row_cosines
from leafkit.vectors.golden_texts import GOLDEN

# A module that is None cannot be imported.
WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "sentence_transformers", "accelerate", "onnx"):
    sys.modules[name] = None
from leafkit.cli import main
"""


@pytest.fixture(scope="session")
def exported_teacher(tiny_teacher, tmp_path_factory):
    """The tiny teacher as an ONNX folder; shared, so never changed."""
    return leafkit.export_teacher(tiny_teacher, tmp_path_factory.mktemp("exported") / "onnx-teacher")


@pytest.fixture
def folder(exported_teacher, tmp_path):
    """A copy of the exported teacher, to be broken; the large graph is linked."""
    copy = tmp_path / "copy"
    (copy / "onnx").mkdir(parents=True)
    for file in filter(os.path.isfile, exported_teacher.rglob("*")):
        if file.suffix == ".onnx":
            os.link(file, copy / file.relative_to(exported_teacher))
        else:
            (copy / file.relative_to(exported_teacher)).write_bytes(file.read_bytes())
    return copy


@pytest.mark.parametrize("role", ["query", "document"])
def test_the_folder_is_a_teacher_of_the_same_space_with_the_same_vectors(
    exported_teacher, tiny_teacher, sentences, role
):
    onnx, torch = leafkit.open_teacher(exported_teacher), leafkit.open_teacher(tiny_teacher, compute="float32")
    assert onnx.space == torch.space
    texts = [*sentences[:40], *(text for text, _ in GOLDEN)]
    assert row_cosines(onnx.encode(texts, role), torch.encode(texts, role)).min() > 0.99999


@pytest.fixture
def ready_made(exported_teacher, monkeypatch):
    """Take the graph of the exported teacher in place of an export, which takes seconds."""
    graph = (exported_teacher / "onnx" / "model.onnx").read_bytes()
    monkeypatch.setattr("leafkit.onnx.graph.write_model", lambda modules, path, may_split: path.write_bytes(graph))


@pytest.mark.parametrize("model", ["table", pytest.param("unnormalised", marks=pytest.mark.slow)])
def test_tables_and_unnormalised_models_can_be_exported(tiny_teacher, tmp_path, sentences, model):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, StaticEmbedding

    opened = SentenceTransformer(str(tiny_teacher), device="cpu")
    modules = (
        [StaticEmbedding(opened.tokenizer.backend_tokenizer, embedding_dim=8)] if model == "table" else list(opened)
    )
    width = 8 if model == "table" else 32
    SentenceTransformer(modules=[*modules, Dense(width, 5)], device="cpu").save(str(tmp_path / "model"))
    onnx = leafkit.open_teacher(leafkit.export_teacher(tmp_path / "model", tmp_path / "onnx"))
    torch = leafkit.open_teacher(tmp_path / "model", compute="float32")
    assert onnx.space == torch.space
    assert not onnx.space.normalised
    assert numpy.abs(onnx.encode(sentences, "document") - torch.encode(sentences, "document")).max() < 1e-5


@pytest.mark.usefixtures("ready_made")
def test_options_of_the_teacher_are_part_of_the_space(tiny_teacher, tmp_path):
    options = {"query_prompt": "find: ", "max_length": 16, "teacher_name": "mine"}
    onnx = leafkit.open_teacher(leafkit.export_teacher(tiny_teacher, tmp_path / "onnx", **options))
    assert onnx.space == leafkit.open_teacher(tiny_teacher, **options).space


def test_documents_are_embedded_indexed_and_added_without_torch(exported_teacher, exported, sentences, tmp_path):
    rows = [json.dumps({"_id": str(number), "text": text}) for number, text in enumerate(sentences[:30])]
    (tmp_path / "docs.jsonl").write_text("\n".join(rows[:20]))
    (tmp_path / "more.jsonl").write_text("\n".join(rows[20:]))
    commands = [
        ["index", "docs.jsonl", "--teacher", exported_teacher, "--student", exported, "--out", "docs.index"],
        ["update", "docs.index", "--add", "more.jsonl"],
        ["embed", "docs.jsonl", "more.jsonl", "--encoder", exported_teacher, "--out", "vectors.npy"],
        ["search", "docs.index", sentences[25], "-k", "1", "--json"],
    ]
    run = "".join(
        f"\nsys.argv = {['leafkit', *map(str, command)]!r}\ntry: main()\nexcept SystemExit as e: assert not e.code, e"
        for command in commands
    )
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH + run], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["hits"][0]["text"] in sentences
    embedded = leafkit.open_teacher(tmp_path / "vectors.npy")
    torch = leafkit.open_teacher(exported_teacher)
    assert embedded.space == torch.space
    assert (
        row_cosines(embedded.encode(sentences[:30], "document"), torch.encode(sentences[:30], "document")).min() > 0.999
    )


def test_prompts_and_a_smaller_limit_are_options_of_the_folder_as_well(exported_teacher, tiny_teacher):
    options = {"query_prompt": "find: ", "max_length": 16}
    assert (
        leafkit.open_teacher(exported_teacher, **options).space == leafkit.open_teacher(tiny_teacher, **options).space
    )


@pytest.mark.parametrize("options", [{"max_length": 65}, {"pooling": "cls"}, {"normalised": False}])
def test_options_that_contradict_the_graph_raise(exported_teacher, options):
    with pytest.raises(OptionError, match="records the"):
        leafkit.open_teacher(exported_teacher, **options)


@pytest.mark.parametrize("name", ["onnx/model.onnx", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("change", ["changed", "missing"])
def test_a_file_that_is_changed_or_missing_raises(folder, name, change):
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if change == "changed":
        (folder / name).write_bytes(content[:-1] + b" ")
    with pytest.raises(DamageError, match=name):
        leafkit.open_teacher(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "other"},
        {"version": 2},
        {"files": {}},
        {"files": []},
        {"files": {"onnx/model.onnx": "", "tokenizer.json": "", "../../secret": ""}},
        {"files": {"onnx/model.onnx": "", "tokenizer.json": "", "/etc/passwd": ""}},
        {"space": {}},
    ],
)
def test_a_record_that_is_none_raises(folder, fields):
    content = json.loads((folder / MARKER).read_bytes())
    (folder / MARKER).write_text(json.dumps(content | fields))
    with pytest.raises(DamageError):
        leafkit.open_teacher(folder)


def test_a_graph_of_another_model_raises_although_its_hash_is_recorded(folder, exported):
    student = exported / "onnx" / "model.onnx"
    (folder / "onnx" / "model.onnx").unlink()
    (folder / "onnx" / "model.onnx").write_bytes(student.read_bytes())
    content = json.loads((folder / MARKER).read_bytes())
    content["files"]["onnx/model.onnx"] = sha256_file(student)
    (folder / MARKER).write_text(json.dumps(content))
    with pytest.raises(DamageError, match="writes other vectors on this machine"):
        leafkit.open_teacher(folder)


def test_a_folder_without_a_fingerprint_raises(folder):
    (folder / "fingerprint.json").unlink()
    with pytest.raises(DamageError, match="no fingerprint"):
        leafkit.open_teacher(folder)


@pytest.mark.usefixtures("ready_made")
def test_a_graph_that_disagrees_is_not_written(other_teacher, tmp_path):
    with pytest.raises(ExportError, match=r"writes other vectors .* Nothing was written"):
        leafkit.export_teacher(other_teacher, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_model_cannot_be_exported(exported, exported_teacher, tiny_texts, tmp_path):
    for source in (exported, exported_teacher, tiny_texts):
        with pytest.raises(InputError, match="is not a sentence-transformers model with torch weights"):
            leafkit.export_teacher(source, tmp_path / "onnx")


def test_an_existing_folder_is_replaced_only_if_leafkit_wrote_it(tiny_teacher, exported_teacher, tmp_path):
    with pytest.raises(OutputError, match="--overwrite"):
        leafkit.export_teacher(tiny_teacher, exported_teacher)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"teacher\.json"):
        leafkit.export_teacher(tiny_teacher, tmp_path, overwrite=True)


@pytest.mark.parametrize("name", ["compute", "device"])
def test_options_about_the_hardware_do_not_apply(tiny_teacher, tmp_path, name):
    with pytest.raises(OptionError, match=f"{name} does not apply to an export"):
        leafkit.export_teacher(tiny_teacher, tmp_path / "onnx", **{name: "float32" if name == "compute" else "cpu"})
