import json
import random
import shutil

import pytest

import leafkit
from leafkit.errors import DamageError, InputError, LeafkitError
from leafkit.index.encoder_files import copy_query_encoder
from leafkit.search.query_encoder import QueryEncoder, digest
from leafkit.space import Space

FILES = ["leafkit.json", "tokenizer.json", "onnx/export.json", "onnx/model_quantized.onnx"]


def change(folder, name, **fields):
    content = json.loads((folder / name).read_bytes())
    content |= fields
    if name == "onnx/export.json":
        content["sha256"] = digest(content)
    (folder / name).write_text(json.dumps(content))


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_raises(copied, name):
    content = (copied / name).read_bytes()
    for length in (0, 1, len(content) // 2, len(content) - 20):
        (copied / name).write_bytes(content[:length])
        with pytest.raises(DamageError):
            QueryEncoder.open(copied, precision="int8")


@pytest.mark.parametrize("name", ["tokenizer.json", "onnx/model_quantized.onnx"])
def test_one_changed_byte_anywhere_raises(copied, name):
    content = bytearray((copied / name).read_bytes())
    draw = random.Random(0)
    for _ in range(20):
        place = draw.randrange(len(content))
        content[place] ^= 1 << draw.randrange(8)
        (copied / name).write_bytes(content)
        with pytest.raises(DamageError, match=f"{name}.*SHA-256"):
            QueryEncoder.open(copied, precision="int8")


@pytest.mark.parametrize("name", ["leafkit.json", "onnx/export.json"])
def test_changed_bytes_of_a_description_raise_or_change_no_vector(copied, name, sentences):
    texts = [*sentences[:3], " ".join(sentences)]
    expected = QueryEncoder.open(copied, precision="int8").encode(texts)
    content = (copied / name).read_bytes()
    draw = random.Random(1)
    for _ in range(300):
        broken = bytearray(content)
        broken[draw.randrange(min(len(content), 3000))] = draw.randrange(256)
        (copied / name).write_bytes(broken)
        try:
            got = QueryEncoder.open(copied, precision="int8").encode(texts)
        except LeafkitError:
            continue
        assert (got == expected).all()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copied, name):
    (copied / name).unlink()
    with pytest.raises(LeafkitError, match=name.rpartition("/")[2] if "quantized" not in name else "int8"):
        QueryEncoder.open(copied, precision="int8")


def test_a_damaged_int8_file_never_falls_back_to_float32(copied):
    (copied / "onnx" / "model_quantized.onnx").write_bytes(b"not a model")
    with pytest.raises(DamageError, match="truncated or changed"):
        QueryEncoder.open(copied)


def test_a_description_of_another_space_raises(copied):
    space = json.loads((copied / "leafkit.json").read_bytes())["space"]
    other = Space.from_json(space).to_json() | {"weights": "sha256:00"}
    del other["id"]
    change(copied, "leafkit.json", space=Space(**other).to_json())
    with pytest.raises(DamageError, match="but the ONNX files have the space"):
        QueryEncoder.open(copied)


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "other"},
        {"version": 99},
        {"files": None},
        {"files": ["model.onnx"]},
        {"files": {}},
        {"golden": None},
        {"golden": [1]},
        {"golden": [{}]},
        {"golden": [{"text": 1, "role": "query", "int8": [1.0]}]},
        {"golden": [{"text": "a", "role": "passage", "int8": [1.0]}]},
        {"golden": [{"text": "a", "role": "query", "int8": "x"}]},
        {"golden": [{"text": "a", "role": "query", "int8": [1.0]}]},
        {"golden": [{"text": "a", "role": "query", "int8": [None] * 32}]},
        {"max_length": "many"},
        {"max_length": -1},
        {"max_length": 10**30},
        {"space": None},
    ],
)
def test_an_invalid_record_raises(copied, fields):
    change(copied, "onnx/export.json", **fields)
    with pytest.raises(DamageError):
        QueryEncoder.open(copied, precision="int8")


def test_an_edited_token_limit_raises(copied):
    content = (copied / "onnx" / "export.json").read_text()
    (copied / "onnx" / "export.json").write_text(content.replace('"max_length": 64', '"max_length": 24'))
    with pytest.raises(DamageError, match=r"export\.json was changed"):
        QueryEncoder.open(copied)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b'{"format": 1'])
@pytest.mark.parametrize("name", ["leafkit.json", "onnx/export.json"])
def test_a_file_that_is_not_a_description_raises(copied, name, content):
    (copied / name).write_bytes(content)
    with pytest.raises(DamageError, match=name):
        QueryEncoder.open(copied)


@pytest.mark.parametrize("name", FILES[1:])
def test_damage_is_not_copied_into_an_index(copied, tmp_path, name):
    (copied / name).write_bytes((copied / name).read_bytes()[:-9])
    with pytest.raises(DamageError):
        copy_query_encoder(copied, tmp_path / "host")


def test_exporting_changed_weights_raises(copied, tmp_path):
    weights = copied / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-7] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DamageError, match=r"model\.safetensors is truncated or changed"):
        leafkit.export(copied, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_exporting_without_the_tokenizer_raises(copied, tmp_path):
    (copied / "tokenizer.json").unlink()
    with pytest.raises(DamageError, match=r"copied/tokenizer\.json is missing"):
        leafkit.export(copied, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", ["nothing", "file", "empty"])
def test_anything_but_a_student_raises_with_its_path(tmp_path, make):
    path = tmp_path / "thing"
    if make == "file":
        path.write_text("no student")
    if make == "empty":
        path.mkdir()
    for call in (QueryEncoder.open, leafkit.export):
        with pytest.raises(InputError, match="thing"):
            call(path)


def test_mixed_files_of_two_exports_raise(exported, copied, tmp_path):
    leafkit.export(copied, out=tmp_path / "other", int8=False)
    shutil.copyfile(tmp_path / "other" / "onnx" / "model.onnx", copied / "onnx" / "model_quantized.onnx")
    with pytest.raises(DamageError, match=r"model_quantized\.onnx is truncated or changed"):
        QueryEncoder.open(copied)
