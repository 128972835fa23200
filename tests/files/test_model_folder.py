"""The hash of a model's weights identifies the model, wherever its folder is."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leafkit.errors import InputError
from leafkit.files.model_folder import read_json, read_modules, torch_weight_files, weights_hash

FILES = st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=3), min_size=1)


@given(FILES, FILES)
def test_hashes_are_equal_if_and_only_if_names_and_contents_are_equal(tmp_path_factory, left, right):
    hashes = []
    for files in (left, right):
        folder = tmp_path_factory.mktemp("model")
        for name, content in files.items():
            (folder / name).write_bytes(content)
        hashes.append(weights_hash(folder, [folder / name for name in files]))
    assert (hashes[0] == hashes[1]) == (left == right)


def test_the_hash_does_not_depend_on_the_folder_or_the_order_of_files(tmp_path):
    (tmp_path / "a" / "sub").mkdir(parents=True)
    for name in ("x.bin", "sub/y.bin"):
        (tmp_path / "a" / name).write_text(name)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    files = [tmp_path / "a" / "x.bin", tmp_path / "a" / "sub" / "y.bin"]
    moved = [tmp_path / "b" / "sub" / "y.bin", tmp_path / "b" / "x.bin"]
    assert weights_hash(tmp_path / "a", files) == weights_hash(tmp_path / "b", moved)


def test_a_folder_without_weights_raises(tmp_path):
    with pytest.raises(InputError, match="contains no weights; expected"):
        weights_hash(tmp_path, [])


def test_each_module_and_route_gives_safetensors_before_bin(tmp_path):
    modules = [{"type": "x.Router", "path": ""}, {"type": "x.Dense", "path": "1_Dense"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "router_config.json").write_text(json.dumps({"types": {"query_0": "x", "document_0": "x"}}))
    for name in ("query_0/model.safetensors", "query_0/pytorch_model.bin", "document_0/pytorch_model.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "document_0" / "training_args.bin").touch()
    found = [file.relative_to(tmp_path).as_posix() for file in torch_weight_files(tmp_path)]
    assert found == ["query_0/model.safetensors", "document_0/pytorch_model.bin"]


def test_missing_files_are_empty_and_invalid_files_raise(tmp_path):
    assert read_json(tmp_path / "config.json") == {}
    assert read_modules(tmp_path) == []
    for content in ("{", '[{"path": ""}]', '[{"type": 3}]', "3"):
        (tmp_path / "modules.json").write_text(content)
        with pytest.raises(InputError, match=r"modules\.json is not a list of modules .*\. Download the model again\."):
            read_modules(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError, match=r"config\.json is not a JSON object"):
        read_json(tmp_path / "config.json")
