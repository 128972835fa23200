"""The metadata of model cards: valid YAML whatever the names, with the licence and base model of the start."""

import pytest
import yaml

from leafkit.students.card_metadata import licence_text, origin_of, stated_in, tags_of, with_metadata
from leafkit.students.spec import parse_student
from leafkit.training.source import origin

ODD = ['me: "you"', "# no", "no", "1.0", "[a]", "ünï/códe", "a\\b"]


def fields(card):
    _, block, text = card.split("---\n", 2)
    return yaml.safe_load(block), text


@pytest.mark.parametrize("name", ODD)
def test_any_licence_and_base_model_give_valid_metadata(name):
    card = with_metadata("\n# Title\n", tags=["onnx"], licence=name, base_model=name)
    metadata, text = fields(card)
    assert metadata == {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "license": name,
        "base_model": name,
        "tags": ["onnx"],
    }
    assert text == "\n# Title\n"


def test_other_metadata_stays_and_ours_replaces_what_was_there():
    card = (
        "---\nlanguage:\n  - en\nlicense: mit\ntags:\n- old\nlibrary_name: onnx\nmodel-index:\n- name: x\n---\nText\n"
    )
    metadata, text = fields(with_metadata(card, tags=["new"], licence=None, base_model=None))
    assert metadata["language"] == ["en"]
    assert metadata["license"] == "mit"
    assert metadata["tags"] == ["new"]
    assert metadata["library_name"] == "sentence-transformers"
    assert metadata["model-index"] == [{"name": "x"}]
    assert text == "Text\n"
    values = {"tags": ["a"], "licence": "x", "base_model": "o/n"}
    once = with_metadata(card, **values)
    assert with_metadata(once, **values) == once


@pytest.mark.parametrize(
    ("block", "stated"),
    [
        ("license: mit", {"license": "mit"}),
        ('license: "apache-2.0"\nbase_model: BAAI/bge', {"license": "apache-2.0", "base_model": "BAAI/bge"}),
        ("base_model:\n- first/one\n- second/two", {"base_model": "first/one"}),
        ("license: &a [*a, *a]", {}),
        ("license: ../../etc/passwd", {}),
        ("base_model: no-owner", {}),
    ],
)
def test_what_a_card_states_is_read_as_plain_strings(block, stated):
    assert stated_in(f"---\n{block}\n---\nlicense: later\n") == stated
    assert stated_in(block) == {}


def test_the_origin_is_what_the_starts_card_says_or_the_hubs_id(tmp_path):
    folder = tmp_path / "models--own.er--na-me" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    assert origin_of(str(folder), folder) == {"license": "mit", "base_model": "own.er/na-me"}
    assert origin(parse_student("BAAI/bge-small-en-v1.5:layers=2"), None) == {"base_model": "BAAI/bge-small-en-v1.5"}
    assert origin(parse_student("bge-small-leaf"), None) == {"license": "mit", "base_model": "BAAI/bge-small-en-v1.5"}
    assert origin(parse_student("static:dim=8"), str(folder)) == {}
    assert origin(parse_student("teacher:layers=2"), str(folder))["license"] == "mit"
    assert origin_of("package:pytest", tmp_path) == {"license": "mit"}
    (folder / "README.md").write_bytes(b"\xff" * (2 << 20))
    assert "license" not in origin_of(str(folder), folder)


def test_the_card_of_a_new_student_states_tags_and_that_no_licence_is_set(exported, tmp_path):
    metadata, text = fields((exported / "README.md").read_text())
    assert metadata["library_name"] == "sentence-transformers"
    assert "license" not in metadata
    assert licence_text(None) in text
    assert metadata["tags"] == tags_of(exported)
    assert {"onnx", "transformers.js", "asymmetric", "leafkit"} <= set(metadata["tags"])
    assert "onnx" not in tags_of(tmp_path)
