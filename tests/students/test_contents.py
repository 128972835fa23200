"""Every file that decides a student's vectors is hashed, and nothing else in the folder can change them."""

import json
import os
import shutil
from typing import Any

import numpy
import pytest

import leafkit
from leafkit.errors import DamageError
from leafkit.students.contents import MARKER, MOMENT, hash_files
from leafkit.students.encoder import open_student
from leafkit.students.folder import read_student
from leafkit.students.query_moment import read_query_moment
from leafkit.students.spec import Pretrained
from leafkit.training.source import open_source


def reseal(student, **changes):
    """Write the hashes of the files as they are now, as an attacker can."""
    raw = json.loads((student / MARKER).read_bytes())
    files = {name: digest for name, digest in hash_files(student).items() if name in raw["files"] or name in changes}
    (student / MARKER).write_text(json.dumps(raw | {"files": files | changes}))


def change_json(file, **values):
    file.write_text(json.dumps(json.loads(file.read_bytes()) | values))


def test_every_file_but_card_history_and_exports_is_hashed(exported):
    files = {file.relative_to(exported).as_posix() for file in exported.rglob("*") if file.is_file()}
    others = {name for name in files if name.startswith("onnx/")} | {"README.md", MARKER}
    assert set(read_student(exported).files) == files - others
    assert MOMENT in files


def test_one_changed_byte_in_any_hashed_file_is_damage_for_every_reader(copied):
    readers = [open_student, leafkit.info, leafkit.open_teacher, lambda s: open_source(Pretrained(source=str(s)), None)]
    for name in read_student(copied).files:
        file = copied / name
        whole = file.read_bytes()
        file.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
        for reader in readers:
            with pytest.raises(DamageError, match=rf"{name} is truncated or changed"):
                reader(copied)
        file.write_bytes(whole)
    assert leafkit.info(copied)["health"].startswith("intact")


@pytest.mark.parametrize(
    "name",
    [
        "adapter_config.json",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "own_code.py",
        "sentence_roberta_config.json",
        "added_tokens.json",
        "vocab.txt",
        "3_Normalize/model.safetensors",
        "2_Dense/pytorch_model.bin",
    ],
)
def test_an_added_file_that_a_loader_could_read_is_damage(name, copied):
    (copied / name).write_text("{}")
    with pytest.raises(DamageError, match=rf"{name}.*(does not belong to the student|no student has)"):
        open_student(copied)


@pytest.mark.parametrize("name", [".gitattributes", "LICENSE", "NOTES.md", "curve.png", "logs/run.json"])
def test_an_added_file_that_no_loader_reads_changes_nothing(name, copied):
    (copied / name).parent.mkdir(exist_ok=True)
    (copied / name).write_text("{}")
    assert open_student(copied).encode(["a file"], "query").shape == (1, 32)


@pytest.mark.parametrize("name", ["adapter_config.json", "own_code.py", "../outside.json", "/etc/passwd", "a/b.json"])
def test_a_listed_file_that_no_student_has_is_damage(name, copied):
    if name.endswith(("fig.json", ".py")):
        (copied / name).write_text("{}")
    reseal(copied, **{name: "0"})
    with pytest.raises(DamageError, match="no student has"):
        open_student(copied)


HOSTILE: list[tuple[str, dict[str, Any]]] = [
    ("config.json", {"auto_map": {"AutoModel": "own_code.Own"}}),
    ("config.json", {"attn_implementation": "someone/kernel"}),
    ("config.json", {"quantization_config": {"quant_method": "bitsandbytes"}}),
    ("config.json", {"num_hidden_layers": 10_000_000}),
    ("config.json", {"intermediate_size": 1_000_000_000}),
    ("config.json", {"max_position_embeddings": 10_000_000_000}),
    ("tokenizer_config.json", {"tokenizer_file": "/tmp/other/tokenizer.json"}),
    ("tokenizer_config.json", {"fast_tokenizer_files": ["../tokenizer.9.9.json"]}),
    ("sentence_bert_config.json", {"tokenizer_name_or_path": "/tmp/other"}),
    ("sentence_bert_config.json", {"model_args": {"gguf_file": "x.gguf"}}),
    ("sentence_bert_config.json", {"config_args": {"trust_remote_code": True}}),
]


@pytest.mark.parametrize(("name", "values"), HOSTILE, ids=str)
def test_settings_that_lead_to_other_files_code_or_memory_are_damage_under_right_hashes(name, values, copied):
    change_json(copied / name, **values)
    reseal(copied)
    with pytest.raises(DamageError, match=rf"{next(iter(values))}|describes a model of \d{{12}} numbers"):
        open_student(copied)


@pytest.mark.parametrize("change", [{"type": "sentence_transformers.util.misc.importlib"}, {"path": "../other"}])
def test_modules_that_no_student_has_are_damage_under_right_hashes(change, copied):
    first, *rest = json.loads((copied / "modules.json").read_bytes())
    (copied / "modules.json").write_text(json.dumps([first | change, *rest]))
    reseal(copied)
    with pytest.raises(DamageError, match="unknown module"):
        open_student(copied)


def test_a_pipe_in_place_of_a_file_is_damage_at_once(copied):
    (copied / "config.json").unlink()
    os.mkfifo(copied / "config.json")
    with pytest.raises(DamageError, match="named pipe"):
        open_student(copied)


def test_the_moment_of_queries_is_checked_before_an_index_folds_with_it(copied):
    space = read_student(copied).space
    moment = read_query_moment(copied, space)
    numpy.save(copied / MOMENT, (2 * moment).astype(numpy.float32))
    with pytest.raises(DamageError, match=rf"{MOMENT} is truncated or changed"):
        read_query_moment(copied, space)


def test_a_student_of_version_1_lists_its_weights_and_still_opens(copied):
    expected = open_student(copied).encode(["a file"], "query")
    raw = json.loads((copied / MARKER).read_bytes())
    weights = {name: digest for name, digest in raw.pop("files").items() if name.endswith(".safetensors")}
    (copied / MARKER).write_text(json.dumps(raw | {"version": 1, "weights": weights}))
    assert numpy.array_equal(open_student(copied).encode(["a file"], "query"), expected)
    read_query_moment(copied, read_student(copied).space)
    (copied / "adapter_config.json").write_text("{}")
    with pytest.raises(DamageError, match="no student has"):
        open_student(copied)


def test_a_student_may_be_made_of_links_as_in_the_cache_of_a_hub(exported, tmp_path):
    linked = shutil.copytree(exported, tmp_path / "linked", copy_function=os.symlink)
    assert numpy.array_equal(open_student(linked).encode(["x"], "query"), open_student(exported).encode(["x"], "query"))
