import json
import logging
import shutil

import numpy
import pytest

from leafkit.errors import InputError, OptionError
from leafkit.space import Space
from leafkit.teachers.open import open_teacher
from leafkit.types import Teacher

ROUTES = {"query": "encode_query", "document": "encode_document"}


def texts_of(sentences):
    """Short and long texts, one without known words, and one longer than the model's limit."""
    return [*sentences[:40], "a", "?", "zebra quux", " ".join(sentences[:30])]


def cosines(a, b):
    return (a * b).sum(axis=1) / numpy.linalg.norm(a, axis=1) / numpy.linalg.norm(b, axis=1)


@pytest.mark.parametrize("role", ROUTES)
@pytest.mark.parametrize("kind", ["tiny_teacher", "router"])
def test_float32_vectors_equal_those_of_sentence_transformers(request, sentence_model, sentences, kind, role):
    folder = request.getfixturevalue(kind)
    rival = getattr(sentence_model(folder), ROUTES[role])(texts_of(sentences))
    vectors = open_teacher(folder, compute="float32").encode(texts_of(sentences), role)
    assert abs(vectors - rival).max() < 1e-6


def test_the_prompt_of_the_role_changes_the_vectors(tiny_teacher, sentences):
    teacher = open_teacher(tiny_teacher, compute="float32")
    with_prompt = teacher.encode(["search: " + text for text in sentences], "document")
    assert abs(teacher.encode(sentences, "query") - with_prompt).max() < 1e-6
    assert cosines(teacher.encode(sentences, "query"), teacher.encode(sentences, "document")).min() < 0.999


def test_bfloat16_and_float16_vectors_are_close_to_float32(tiny_teacher, sentences):
    exact = open_teacher(tiny_teacher, compute="float32").encode(texts_of(sentences), "query")
    for compute in ("bfloat16", "float16"):
        teacher = open_teacher(tiny_teacher, compute=compute)
        vectors = teacher.encode(texts_of(sentences), "query")
        assert vectors.dtype == numpy.float32
        assert 0.999 < cosines(vectors, exact).min() < 1
        # normalised in float32, not in the precision of the transformer
        assert abs(numpy.linalg.norm(vectors, axis=1) - 1).max() < 1e-6


def test_auto_computes_in_bfloat16_if_the_hardware_supports_it_and_logs_the_precision(tiny_teacher, caplog):
    import torch

    capabilities = torch.cpu.get_capabilities()
    expected = "bfloat16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "float32"
    with caplog.at_level(logging.INFO, logger="leafkit"):
        teacher = open_teacher(tiny_teacher, device="cpu")
    assert f"computing in {expected} on cpu, batches sorted by length" in caplog.text
    assert {str(p.dtype) for p in teacher.model[0].parameters()} == {f"torch.{expected}"}


def test_order_and_batch_size_do_not_change_vectors(tiny_teacher, sentences, monkeypatch):
    from leafkit.teachers import sentence_transformer as module

    teacher = open_teacher(tiny_teacher, compute="float32")
    texts = texts_of(sentences)
    vectors = teacher.encode(texts, "document")
    assert abs(teacher.encode(texts[::-1], "document")[::-1] - vectors).max() < 1e-6
    alone = open_teacher(tiny_teacher, compute="float32", teacher_batch_size=1).encode(texts, "document")
    assert abs(alone - vectors).max() < 1e-6
    monkeypatch.setattr(module, "POOL_TEXTS", 7)
    assert abs(teacher.encode(texts, "document") - vectors).max() < 1e-6


def test_padding_on_the_left_is_removed(copied, sentence_model, sentences):
    config = json.loads((copied / "tokenizer_config.json").read_text())
    (copied / "tokenizer_config.json").write_text(json.dumps({**config, "padding_side": "left"}))
    rival = sentence_model(copied)
    assert rival.preprocess(sentences)["attention_mask"][:, 0].min() == 0
    # In batches of one text there is no padding, so positions start at the first token.
    vectors = open_teacher(copied, compute="float32", teacher_batch_size=1).encode(sentences, "document")
    assert abs(vectors - rival.encode(sentences, batch_size=1)).max() < 1e-6


def test_no_texts_give_no_vectors(tiny_teacher):
    assert open_teacher(tiny_teacher).encode([], "query").shape == (0, 32)


def test_an_unknown_role_raises(tiny_teacher):
    with pytest.raises(OptionError, match="unknown role 'passage'"):
        open_teacher(tiny_teacher).encode(["a"], "passage")


def test_the_space_records_the_configuration_of_the_model(tiny_teacher):
    teacher = open_teacher(tiny_teacher)
    assert isinstance(teacher, Teacher)
    assert teacher.signals == {"embeddings", "online"}
    assert teacher.space == Space(
        teacher="tiny-teacher",
        weights=teacher.space.weights,
        dim=32,
        normalised=True,
        pooling="mean",
        max_length=64,
        query_prompt="search: ",
    )
    assert teacher.space.weights.startswith("sha256:")


def test_a_moved_model_keeps_its_space_and_another_model_has_another_space(tiny_teacher, other_teacher, copied):
    ids = [open_teacher(folder).space.id for folder in (tiny_teacher, copied, other_teacher)]
    assert ids[0] == ids[1] != ids[2]


def test_files_other_than_weights_do_not_change_the_space(tiny_teacher, copied):
    (copied / "README.md").write_text("other words")
    (copied / "onnx").mkdir()
    (copied / "onnx" / "model.onnx").write_bytes(b"another copy")
    (copied / "training_args.bin").write_bytes(b"left behind by a trainer")
    (copied / "pytorch_model.bin").write_bytes(b"the same weights again, ignored because of the safetensors")
    assert open_teacher(copied).space.id == open_teacher(tiny_teacher).space.id


@pytest.mark.parametrize(
    "options",
    [{"query_prompt": ""}, {"document_prompt": "d: "}, {"max_length": 32}, {"teacher_name": "mine"}],
    ids=lambda options: next(iter(options)),
)
def test_options_that_change_the_vectors_change_the_space(tiny_teacher, options):
    assert open_teacher(tiny_teacher, **options).space.id != open_teacher(tiny_teacher).space.id


def test_a_declared_name_replaces_the_hash_of_the_weights(tiny_teacher, other_teacher):
    one, two = (open_teacher(folder, teacher_name="api/model").space for folder in (tiny_teacher, other_teacher))
    assert (one.teacher, one.weights) == ("api/model", "name:api/model")
    assert one.id == two.id


def test_given_prompts_override_those_of_the_model(tiny_teacher, sentence_model, sentences):
    teacher = open_teacher(tiny_teacher, compute="float32", query_prompt="find: ", document_prompt="page ")
    for role, prompt in (("query", "find: "), ("document", "page ")):
        rival = sentence_model(tiny_teacher).encode(sentences, prompt=prompt)
        assert abs(teacher.encode(sentences, role) - rival).max() < 1e-6


def test_a_prompt_called_passage_is_the_document_prompt(copied):
    config = json.loads((copied / "config_sentence_transformers.json").read_text())
    config["prompts"] = {"query": "query: ", "passage": "passage: "}
    (copied / "config_sentence_transformers.json").write_text(json.dumps(config))
    assert open_teacher(copied).space.document_prompt == "passage: "


def test_a_text_is_truncated_to_max_length(tiny_teacher):
    teacher = open_teacher(tiny_teacher, compute="float32", max_length=8)
    one, two = teacher.encode(["a the of to in list show", "a the of to in list print"], "document")
    assert teacher.space.max_length == 8
    assert abs(one - two).max() < 1e-6
    with pytest.raises(OptionError, match="max_length is 65; expected at most 64"):
        open_teacher(tiny_teacher, max_length=65)


def test_vectors_are_normalised_by_option_but_normalisation_cannot_be_removed(tiny_teacher, copied, sentences):
    modules = json.loads((copied / "modules.json").read_text())
    (copied / "modules.json").write_text(json.dumps(modules[:2]))
    raw = open_teacher(copied, compute="float32")
    unit = open_teacher(copied, compute="float32", normalised=True)
    assert (raw.space.normalised, unit.space.normalised) == (False, True)
    vectors = raw.encode(sentences, "query")
    lengths = numpy.linalg.norm(vectors, axis=1, keepdims=True)
    assert abs(lengths - 1).max() > 0.1
    assert abs(unit.encode(sentences, "query") - vectors / lengths).max() < 1e-6
    assert unit.space.id == open_teacher(tiny_teacher).space.id
    with pytest.raises(OptionError, match=r"normalised is False, but .* normalises its vectors"):
        open_teacher(tiny_teacher, normalised=False)


def test_a_router_has_a_prompt_for_each_role_and_the_weights_of_both_routes(router, tmp_path):
    space = open_teacher(router).space
    assert (space.query_prompt, space.document_prompt) == ("find: ", "page ")
    assert (space.normalised, space.pooling, space.max_length) == (True, "mean", 64)
    changed = shutil.copytree(router, tmp_path / "changed")
    weights = next(changed.glob("document_*Transformer/model.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert open_teacher(changed).space.weights != space.weights


def test_models_with_a_head_and_static_embeddings_are_teachers(tiny_teacher, sentence_model, sentences, tmp_path):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, StaticEmbedding
    from tokenizers import Tokenizer

    torch.manual_seed(0)
    headed = [*list(sentence_model(tiny_teacher))[:2], Dense(32, 48, activation_function=torch.nn.Tanh())]
    static = [StaticEmbedding(Tokenizer.from_file(str(tiny_teacher / "tokenizer.json")), embedding_dim=48)]
    for name, modules in (("headed", headed), ("static", static)):
        rival = SentenceTransformer(modules=modules, device="cpu")
        rival.save(str(tmp_path / name))
        teacher = open_teacher(tmp_path / name, compute="float32")
        assert (teacher.space.dim, teacher.space.normalised) == (48, False)
        assert abs(teacher.encode(sentences, "query") - rival.encode(sentences)).max() < 1e-5
    assert (teacher.space.pooling, teacher.space.max_length) == ("StaticEmbedding", None)


def test_code_in_a_model_folder_runs_only_with_trust_remote_code(copied, tmp_path):
    modules = json.loads((copied / "modules.json").read_text())
    modules[2]["type"] = "own_code.Own"
    (copied / "modules.json").write_text(json.dumps(modules))
    mark = tmp_path / "it ran"
    code = "from sentence_transformers.sentence_transformer.modules import Normalize\n"
    code += f"open({str(mark)!r}, 'w').close()\nclass Own(Normalize):\n    pass\n"
    (copied / "own_code.py").write_text(code)
    with pytest.raises(InputError, match="trust_remote_code"):
        open_teacher(copied)
    assert not mark.exists()
    open_teacher(copied, trust_remote_code=True)
    assert mark.exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("modules.json", b"{", "not a list of modules"),
        ("modules.json", b'{"a": 1}', "not a list of modules"),
        ("model.safetensors", b"not tensors", "cannot open .* with sentence-transformers"),
        ("config.json", b"{}", "cannot open .* with sentence-transformers"),
        ("model.safetensors", None, "contains no weights"),
    ],
)
def test_an_invalid_model_folder_is_an_input_error(copied, file, content, message):
    (copied / file).unlink()
    if content is not None:
        (copied / file).write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_teacher(copied)


def test_pooling_raises_for_a_model_that_records_its_pooling(tiny_teacher):
    with pytest.raises(OptionError, match="pooling does not apply to a sentence-transformers model"):
        open_teacher(tiny_teacher, pooling="cls")


@pytest.mark.parametrize("compute", ["bfloat16", "float16"])
def test_rotary_frequencies_are_not_rounded(compute, tiny_teacher, sentence_model, tmp_path):
    """In bfloat16, the frequencies of ModernBERT would rotate its 512th token by up to half a radian too far."""
    import torch
    from transformers import ModernBertConfig, ModernBertModel

    model = sentence_model(tiny_teacher)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model[0].model = ModernBertModel(ModernBertConfig(vocab_size=200, pad_token_id=0, **sizes))
    model.save(str(tmp_path / "rotary"))
    rounded, exact = (open_teacher(tmp_path / "rotary", compute=how).model[0].model for how in (compute, "float32"))
    frequencies = {name: buffer for name, buffer in exact.named_buffers() if name.endswith("inv_freq")}
    assert frequencies
    assert all(torch.equal(dict(rounded.named_buffers())[name], buffer) for name, buffer in frequencies.items())
    assert {str(parameter.dtype) for parameter in rounded.parameters()} == {f"torch.{compute}"}
