import json
import shutil
import subprocess
import sys

import numpy
import pytest

from leafkit.errors import InputError, OptionError
from leafkit.teachers.open import open_teacher
from leafkit.vectors.cosine import unit_rows


@pytest.fixture
def folder(onnx_folder, tmp_path):
    return shutil.copytree(onnx_folder, tmp_path / "tiny-onnx")


def texts_of(sentences):
    return [*sentences, "a", " ".join(sentences[:30])]


@pytest.mark.parametrize("role", ["query", "document"])
def test_an_onnx_folder_gives_the_vectors_of_the_torch_model(onnx_folder, tiny_teacher, sentences, role):
    onnx = open_teacher(onnx_folder, normalised=True)
    torch = open_teacher(tiny_teacher, compute="float32")
    assert abs(onnx.encode(texts_of(sentences), role) - torch.encode(texts_of(sentences), role)).max() < 1e-5
    assert onnx.space.query_prompt == "search: "


def test_vectors_are_normalised_by_option_or_by_modules_json(folder, onnx_folder, tiny_teacher, sentences):
    plain = open_teacher(onnx_folder)
    assert not plain.space.normalised
    shutil.copy(tiny_teacher / "modules.json", folder / "modules.json")
    unit = open_teacher(folder)
    assert unit.space == open_teacher(onnx_folder, normalised=True).space
    assert abs(unit_rows(plain.encode(sentences, "query")) - unit.encode(sentences, "query")).max() < 1e-6


def test_a_head_outside_the_graph_raises(folder):
    (folder / "modules.json").write_text(
        '[{"path": "", "type": "x.Transformer"}, {"path": "2_Dense", "type": "x.Dense"}]'
    )
    with pytest.raises(InputError, match="Dense head outside"):
        open_teacher(folder)


def test_cls_pooling_is_the_vector_of_the_first_token(onnx_folder, tiny_teacher, sentence_model, sentences):
    vectors = open_teacher(onnx_folder, pooling="cls").encode(sentences[:3], "document")
    tokens = sentence_model(tiny_teacher).encode(sentences[:3], output_value="token_embeddings")
    assert abs(vectors - numpy.array([row[0].numpy() for row in tokens])).max() < 1e-5


def test_order_and_batch_size_do_not_change_vectors(onnx_folder, sentences):
    texts = texts_of(sentences)
    vectors = open_teacher(onnx_folder).encode(texts, "query")
    assert (
        abs(open_teacher(onnx_folder, teacher_batch_size=1).encode(texts[::-1], "query")[::-1] - vectors).max() < 1e-5
    )
    assert open_teacher(onnx_folder).encode([], "query").shape == (0, 32)


def test_the_space_changes_with_the_weights_but_not_with_the_folder(onnx_folder, folder):
    space = open_teacher(folder).space
    assert space.id == open_teacher(onnx_folder).space.id
    assert (space.pooling, space.max_length, space.normalised, space.dim) == ("mean", 64, False, 32)
    weights = max((folder / "onnx").iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert open_teacher(folder).space.weights != space.weights


def test_the_graph_may_be_at_the_top_of_the_folder(folder, onnx_folder):
    for file in (folder / "onnx").iterdir():
        file.rename(folder / file.name)
    assert open_teacher(folder).space.id == open_teacher(onnx_folder).space.id


def test_the_maximum_length_is_read_from_several_files_and_overridden_by_the_option(folder):
    assert open_teacher(folder, max_length=8).space.max_length == 8
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    assert open_teacher(folder).space.max_length == 16
    (folder / "sentence_bert_config.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1000000000000000019884624838656}')
    assert open_teacher(folder).space.max_length is None


def test_a_text_is_truncated_to_the_maximum_length(folder):
    one, two = open_teacher(folder, max_length=8).encode(
        ["a the of to in list show", "a the of to in list print"], "document"
    )
    assert abs(one - two).max() < 1e-6


@pytest.mark.parametrize(
    "config",
    [
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
        {"pooling_mode": "cls"},
        {"pooling_mode": ["cls"]},
    ],
)
def test_pooling_is_read_in_the_old_and_the_new_format(folder, config):
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    assert open_teacher(folder).space.pooling == "cls"


def test_a_folder_that_does_not_record_its_pooling_raises(folder):
    shutil.rmtree(folder / "1_Pooling")
    with pytest.raises(InputError, match="pooling='mean' or pooling='cls'"):
        open_teacher(folder)
    assert open_teacher(folder, pooling="mean").space.pooling == "mean"


def test_an_unsupported_pooling_raises(folder):
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "lasttoken"}')
    with pytest.raises(InputError, match="lasttoken, which is not supported"):
        open_teacher(folder)


def test_a_graph_that_pools_itself_is_not_pooled_again(folder, sentences):
    import onnx
    from onnx import TensorProto, helper

    # A vector of width 2 per text: the number of tokens and the sum of their ids.
    ones = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    ids, mask = (
        helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "t"]) for n in ("input_ids", "attention_mask")
    )
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["kept"]),
        helper.make_node("ReduceSum", ["attention_mask", "axes"], ["count"], keepdims=1),
        helper.make_node("ReduceSum", ["kept", "axes"], ["total"], keepdims=1),
        helper.make_node("Concat", ["count", "total"], ["both"], axis=1),
        helper.make_node("Cast", ["both"], ["sentence_embedding"], to=TensorProto.FLOAT),
    ]
    output = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["b", 2])
    graph = helper.make_graph(nodes, "sums", [ids, mask], [output], [ones])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    shutil.rmtree(folder / "onnx")
    shutil.rmtree(folder / "1_Pooling")
    onnx.save(model, str(folder / "model.onnx"))
    teacher = open_teacher(folder)
    assert (teacher.space.dim, teacher.space.pooling, teacher.space.normalised) == (2, "sentence", False)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    expected = [[len(row.ids), sum(row.ids)] for row in tokenizer.encode_batch(sentences)]
    assert teacher.encode(sentences, "document").tolist() == expected


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("onnx/model.onnx", b"not a graph"),
        ("onnx/model.onnx", b""),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"\xff"),
        ("1_Pooling/config.json", b"{"),
        ("tokenizer_config.json", b"[]"),
    ],
)
def test_an_invalid_file_is_an_input_error(folder, file, content):
    (folder / file).write_bytes(content)
    with pytest.raises(InputError):
        open_teacher(folder)


def test_options_without_meaning_for_onnx_raise(onnx_folder):
    with pytest.raises(OptionError, match="compute does not apply to an ONNX folder"):
        open_teacher(onnx_folder, compute="bfloat16")


def test_an_onnx_folder_does_not_import_torch(onnx_folder):
    code = (
        "import sys; from leafkit import open_teacher; "
        f"open_teacher({str(onnx_folder)!r}).encode(['a'], 'query'); "
        "sys.exit(any(m.split('.')[0] in ('torch', 'transformers', 'sentence_transformers') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
