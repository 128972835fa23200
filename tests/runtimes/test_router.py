import json
import shutil

import numpy
import pytest
from sentence_transformers import SentenceTransformer

import leafkit
from leafkit.errors import ExportError, InputError, OutputError, SpaceError
from leafkit.runtimes import router
from leafkit.students.encoder import open_student
from leafkit.vectors.cosine import row_cosines
from tests.fixtures.copies import copy_model, half
from tests.fixtures.environments import run_elsewhere


@pytest.fixture(scope="module")
def folder(exported, tiny_teacher, tmp_path_factory):
    """The student for queries and the tiny teacher for documents."""
    return leafkit.export_router(exported, tiny_teacher, tmp_path_factory.mktemp("router") / "router")


def opened(folder):
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def test_plain_sentence_transformers_encodes_each_side_with_its_model(folder, exported, tiny_teacher, sentences):
    model = opened(folder)
    student, teacher = open_student(exported), leafkit.open_teacher(tiny_teacher, compute="float32")
    for encode, one, other, role in (
        (model.encode_query, student, teacher, "query"),
        (model.encode_document, teacher, student, "document"),
    ):
        vectors = encode(sentences[:20], show_progress_bar=False)
        assert numpy.abs(vectors - one.encode(sentences[:20], role)).max() < 1e-5
        assert numpy.abs(vectors - other.encode(sentences[:20], role)).max() > 1e-3


def test_the_folder_has_the_form_of_the_published_asymmetric_models(folder):
    config = json.loads((folder / "router_config.json").read_bytes())
    assert set(config["structure"]) == {"query", "document"}
    assert config["parameters"]["default_route"] == "document"
    assert all((folder / name).is_dir() for names in config["structure"].values() for name in names)
    assert "asymmetric" in (folder / "README.md").read_text().split("---")[1]


def test_the_settings_have_the_names_that_every_version_with_routers_knows(folder):
    def read(name):
        return json.loads((folder / name).read_bytes())

    assert [module["type"] for module in read("modules.json")] == ["sentence_transformers.models.Router"]
    config = read("router_config.json")
    routes = {"query": "Transformer Pooling Dense Normalize", "document": "Transformer Pooling Normalize"}
    named = [(f"{route}_{i}_{kind}", kind) for route, kinds in routes.items() for i, kind in enumerate(kinds.split())]
    assert config["types"] == {name: f"sentence_transformers.models.{kind}" for name, kind in named}
    assert config["parameters"] == {"default_route": "document", "allow_empty_key": True}
    for side in routes:
        assert read(f"{side}_0_Transformer/sentence_bert_config.json")["max_seq_length"] == 64
        assert read(f"{side}_0_Transformer/tokenizer_config.json")["tokenizer_class"] == "PreTrainedTokenizerFast"
        assert read(f"{side}_1_Pooling/config.json")["pooling_mode_mean_tokens"] is True
    assert "__version__" not in read("config_sentence_transformers.json")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["5.0.0", "5.4.1", "6.2.0"])
@pytest.mark.parametrize("spec", ["teacher:layers=2", "static:dim=8"])
def test_every_version_with_routers_gives_the_same_vectors(
    spec, version, tiny_texts, tiny_teacher, sentences, tmp_path
):
    made = leafkit.distill(tiny_texts, tiny_teacher, spec, tmp_path / "s", epochs=0, rotate="pca", export=False)
    folder = leafkit.export_router(made.path, tiny_teacher, tmp_path / "router")
    model, texts = opened(folder), [*sentences[:3], "the user of a server " * 40]
    found = run_elsewhere(
        f"sentence-transformers=={version}",
        """
        import json, logging, sys, warnings
        from sentence_transformers import SentenceTransformer
        folder, texts = json.loads(sys.argv[1])
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
        warnings.simplefilter("error")
        model = SentenceTransformer(folder, device="cpu", local_files_only=True)
        sides = model.encode_query(texts), model.encode_document(texts)
        print(json.dumps([sum(p.numel() for p in model.parameters()), *(side.tolist() for side in sides)]))
        """,
        [str(folder), texts],
    )
    assert found.result[0] == sum(parameter.numel() for parameter in model.parameters())
    assert not {word for word in ("WARNING", "MISSING", "UNEXPECTED", "newly initialized") if word in found.said}
    for vectors, encode in zip(found.result[1:], (model.encode_query, model.encode_document), strict=True):
        assert numpy.abs(numpy.array(vectors) - encode(texts, show_progress_bar=False)).max() < 1e-6


def test_a_copy_of_the_teacher_in_another_precision_is_accepted(exported, tiny_teacher, sentences, tmp_path):
    copy = copy_model(tiny_teacher, tmp_path / "copy", half, prompts={})
    model = opened(leafkit.export_router(exported, copy, tmp_path / "router"))
    expected = leafkit.open_teacher(tiny_teacher, compute="float32").encode(sentences[:5], "document")
    assert row_cosines(model.encode_document(sentences[:5], show_progress_bar=False), expected).min() > 0.999
    assert model.prompts == {"query": "search: ", "document": ""}


def test_the_folder_opens_as_a_teacher_like_any_model(folder, sentences):
    vectors = leafkit.open_teacher(folder, compute="float32").encode(sentences[:5], "query")
    assert row_cosines(vectors, opened(folder).encode_query(sentences[:5], show_progress_bar=False)).min() > 0.99999


def test_documents_are_rotated_for_a_student_of_rotated_coordinates(tiny_texts, tiny_teacher, sentences, tmp_path):
    made = leafkit.distill(
        tiny_texts, tiny_teacher, "static:dim=8", tmp_path / "rotated", epochs=0, rotate="pca", export=False
    )
    model = opened(leafkit.export_router(made.path, tiny_teacher, tmp_path / "router"))
    plain = leafkit.open_teacher(tiny_teacher, compute="float32").encode(sentences[:20], "document")
    rotated = model.encode_document(sentences[:20], show_progress_bar=False)
    queries = model.encode_query(sentences[:20], show_progress_bar=False)
    assert row_cosines(plain, rotated).max() < 0.9
    assert numpy.abs(plain @ plain.T - rotated @ rotated.T).max() < 1e-4
    assert row_cosines(queries, open_student(made.path).encode(sentences[:20], "query")).min() > 0.99999


def test_mteb_measures_the_folder_as_leafkit_measures_the_pair(folder, exported, tiny_teacher, sentences, tmp_path):
    mteb = pytest.importorskip("mteb")
    from leafkit.evaluation.mteb_tasks import find_task
    from tests.fixtures.collections import write_beir

    write_beir(tmp_path / "data" / "tiny", sentences)
    pair = leafkit.evaluate(
        mteb="tiny", data_root=tmp_path / "data", teacher=tiny_teacher, student=exported, modes=["asymmetric"]
    )
    task = find_task("tiny", tmp_path / "data", "test")
    found = mteb.evaluate(opened(folder), task, cache=None, show_progress_bar=False, co2_tracker=False)
    assert found.task_results[0].get_score() == pytest.approx(pair.rows[0].metrics["ndcg@10"], abs=2e-3)


def test_a_teacher_of_another_space_raises(exported, other_teacher, tmp_path):
    with pytest.raises(SpaceError, match="does not write the vectors of the student"):
        leafkit.export_router(exported, other_teacher, tmp_path / "router")
    assert list(tmp_path.iterdir()) == []


def test_a_student_without_torch_weights_raises(copied, tiny_teacher, tmp_path):
    for file in copied.rglob("*.safetensors"):
        file.unlink()
    with pytest.raises(InputError, match="no torch weights"):
        leafkit.export_router(copied, tiny_teacher, tmp_path / "router")


def test_a_folder_that_gives_other_vectors_is_not_written(exported, tiny_teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(router, "_rotation", lambda mapping: [turned()])
    with pytest.raises(ExportError, match="does not agree"):
        leafkit.export_router(exported, tiny_teacher, tmp_path / "router")
    assert list(tmp_path.iterdir()) == []


def turned():
    """A module that a wrong export would add: it turns the document vectors."""
    import torch
    from sentence_transformers.sentence_transformer.modules import Dense

    dense = Dense(32, 32, bias=False, activation_function=torch.nn.Identity())
    dense.linear.weight = torch.nn.Parameter(torch.eye(32).flip(0))
    return dense


def test_only_what_leafkit_wrote_is_replaced(folder, exported, tiny_teacher, tmp_path):
    with pytest.raises(OutputError, match="--overwrite"):
        leafkit.export_router(exported, tiny_teacher, folder)
    copy = shutil.copytree(tiny_teacher, tmp_path / "model")
    with pytest.raises(OutputError, match="was not written by leafkit"):
        leafkit.export_router(exported, tiny_teacher, copy, overwrite=True)
