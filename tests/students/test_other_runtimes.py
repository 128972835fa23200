import json
import logging
import warnings

import numpy
import pytest
import safetensors.numpy
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
from tokenizers import Tokenizer

from leafkit.students.encoder import open_student
from leafkit.students.folder import write_student
from leafkit.students.student import Student
from leafkit.teachers.open import open_teacher
from tests.fixtures.environments import run_elsewhere
from tests.fixtures.students import new_student

TEXTS = ["a list of files", "the user of a server " * 40]


def written(spec, teacher, folder, change=lambda student: None):
    opened = open_teacher(teacher, compute="float32")
    student = new_student(spec, opened, teacher)
    change(student)
    folder.mkdir(exist_ok=True)
    write_student(folder, student, opened.space, {"recipe": {}})
    return student.model


def read(folder, name):
    return json.loads((folder / name).read_bytes())


# The rules of text-embeddings-inference at commit 0d124dc: each field of the structs that its serde parsers demand,
# with the type, and None among the types of an optional field. Unknown fields are ignored everywhere.
# backends/src/lib.rs, ModuleConfig and ModuleType: one unknown type makes the parse fail, and then no head is loaded.
MODULE = {"idx": int, "name": str, "path": str, "type": str}
MODULE_TYPES = {f"sentence_transformers.models.{name}" for name in ("Dense", "Normalize", "Pooling", "Transformer")}
# backends/candle/src/models/dense.rs, DenseConfig and DenseActivation
DENSE = {"in_features": int, "out_features": int, "bias": bool, "activation_function": str | None}
ACTIVATIONS = {"torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity", None}
# router/src/lib.rs, PoolConfig (the first flag that is set wins), STConfig and ModelConfig
POOL = {"pooling_mode_cls_token": bool, "pooling_mode_mean_tokens": bool, "pooling_mode_lasttoken": bool | None}
LIMIT = {"max_seq_length": int}
MODEL = {"architectures": list, "model_type": str, "max_position_embeddings": int | None, "pad_token_id": int | None}
# backends/candle/src/models/bert.rs, BertConfig
SIZES = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings"
BERT = dict.fromkeys((*SIZES.split(), "type_vocab_size", "pad_token_id"), int) | {
    "hidden_act": str,
    **dict.fromkeys(("hidden_dropout_prob", "initializer_range", "layer_norm_eps"), float),
    "use_cache": bool | None,
}


def check(values, struct):
    """Demand of ``values`` what serde demands for a struct: each field present unless optional, of the exact type."""
    for name, kind in struct.items():
        value = values.get(name)
        kinds = getattr(kind, "__args__", (kind,))
        assert type(value) in kinds, (name, value)
        assert kind is not int or value >= 0


def test_text_embeddings_inference_accepts_every_file_and_finds_the_head(tiny_teacher, tmp_path):
    model = written("teacher:layers=2", tiny_teacher, tmp_path)
    modules = read(tmp_path, "modules.json")
    for module in modules:
        check(module, MODULE)
        assert module["type"] in MODULE_TYPES
    (head,) = [module["path"] for module in modules if module["type"].endswith(".Dense")]
    dense = read(tmp_path, f"{head}/config.json")
    check(dense, DENSE)
    assert dense["activation_function"] in ACTIVATIONS
    weights = safetensors.numpy.load_file(tmp_path / head / "model.safetensors")
    assert weights["linear.weight"].shape == (dense["out_features"], dense["in_features"])
    assert numpy.array_equal(weights["linear.bias"], Student(model).linear.bias.numpy(force=True))
    check(read(tmp_path, "1_Pooling/config.json"), POOL)
    check(read(tmp_path, "sentence_bert_config.json"), LIMIT)
    check(read(tmp_path, "config.json"), MODEL | BERT)
    prompts = read(tmp_path, "config_sentence_transformers.json")["prompts"]  # NewSTConfig: a map of strings to strings
    assert all(type(prompt) is str for prompt in prompts.values())


TRANSFORMER_FILES = {
    "modules.json": [
        ("0", "", "Transformer"),
        ("1", "1_Pooling", "Pooling"),
        ("2", "2_Dense", "Dense"),
        ("3", "3_Normalize", "Normalize"),
    ],
    "sentence_bert_config.json": {
        "max_seq_length": 64,
        "do_lower_case": False,
        "model_args": {"add_pooling_layer": False},
    },
    "config_sentence_transformers.json": {
        "default_prompt_name": None,
        "prompts": {"document": "", "query": "search: "},
        "similarity_fn_name": "cosine",
    },
    "1_Pooling/config.json": {
        "word_embedding_dimension": 32,
        "include_prompt": True,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
        "pooling_mode_weightedmean_tokens": False,
        "pooling_mode_lasttoken": False,
    },
    "2_Dense/config.json": {
        "in_features": 32,
        "out_features": 32,
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
    },
    "3_Normalize/config.json": {},
}
TABLE_FILES = {
    "modules.json": [
        ("0", "0_StaticEmbedding", "StaticEmbedding"),
        ("1", "1_Dense", "Dense"),
        ("2", "2_Normalize", "Normalize"),
    ],
    "config_sentence_transformers.json": TRANSFORMER_FILES["config_sentence_transformers.json"],
    "1_Dense/config.json": TRANSFORMER_FILES["2_Dense/config.json"] | {"in_features": 8},
    "2_Normalize/config.json": {},
}


@pytest.mark.parametrize(
    ("spec", "files"), [("teacher:layers=2", TRANSFORMER_FILES), ("static:dim=8", TABLE_FILES)], ids=["bert", "table"]
)
def test_the_layout_is_that_of_older_versions_byte_by_byte(spec, files, tiny_teacher, tmp_path):
    written(spec, tiny_teacher, tmp_path)
    for name, content in files.items():
        if name == "modules.json":
            content = [
                {"idx": int(number), "name": number, "path": path, "type": f"sentence_transformers.models.{kind}"}
                for number, path, kind in content
            ]
        assert (tmp_path / name).read_bytes() == (json.dumps(content, indent=1) + "\n").encode(), name
    assert read(tmp_path, "tokenizer_config.json")["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_a_setting_that_older_versions_do_not_know_is_kept_if_it_changes_vectors(tiny_teacher, tmp_path):
    opened = open_teacher(tiny_teacher, compute="float32")
    transformer, *rest = new_student("teacher:layers=1", opened, tiny_teacher).model
    per_token = Dense(32, 32, activation_function=torch.nn.Identity(), module_input_name="token_embeddings")
    student = Student(SentenceTransformer(modules=[transformer, per_token, *rest], device="cpu"))
    write_student(tmp_path, student, opened.space, {"recipe": {}})
    assert read(tmp_path, "1_Dense/config.json")["module_input_name"] == "token_embeddings"
    plain = SentenceTransformer(str(tmp_path), device="cpu")
    assert numpy.array_equal(plain.encode(TEXTS), student.model.encode(TEXTS))


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.4.1", "5.0.0", "5.4.1", "6.2.0"])
@pytest.mark.parametrize("spec", ["teacher:layers=2", "teacher:layers=1,pooling=cls", "static:dim=8"])
def test_every_version_of_sentence_transformers_gives_the_same_vectors(spec, version, tiny_teacher, tmp_path):
    model = written(spec, tiny_teacher, tmp_path / "student")
    roles = ("query", "document")
    found = run_elsewhere(
        f"sentence-transformers=={version}",
        """
        import json, logging, sys, warnings
        from sentence_transformers import SentenceTransformer
        folder, texts, roles = json.loads(sys.argv[1])
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
        warnings.simplefilter("error")
        model = SentenceTransformer(folder, device="cpu", local_files_only=True)
        parameters = sum(p.numel() for p in model.parameters())
        print(json.dumps([parameters, *(model.encode(texts, prompt_name=role).tolist() for role in roles)]))
        """,
        [str(tmp_path / "student"), TEXTS, roles],
    )
    assert found.result[0] == sum(parameter.numel() for parameter in model.parameters())
    assert not {word for word in ("WARNING", "MISSING", "newly initialized") if word in found.said}
    for role, vectors in zip(roles, found.result[1:], strict=True):
        assert numpy.array_equal(numpy.array(vectors, numpy.float32), model.encode(TEXTS, prompt_name=role))


def test_fastembed_truncates_where_the_student_does(tiny_teacher, tmp_path):
    def left_over(student):
        student.tokenizer.init_kwargs["max_length"] = 5

    model = written("teacher:layers=2", tiny_teacher, tmp_path, left_over)
    settings = read(tmp_path, "tokenizer_config.json")
    assert min(settings["model_max_length"], settings["max_length"]) == model.max_seq_length == 64
    assert settings["pad_token"]


def test_sentence_transformers_opens_the_folder_without_warnings(tiny_teacher, tmp_path, caplog):
    model = written("teacher:layers=2", tiny_teacher, tmp_path)
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        plain = SentenceTransformer(str(tmp_path), device="cpu")
    assert not caplog.text
    assert plain.max_seq_length == model.max_seq_length
    assert numpy.abs(plain.encode(TEXTS) - model.encode(TEXTS)).max() < 1e-6


@pytest.mark.parametrize("limit", [None, 9])
def test_a_token_table_has_the_configs_of_a_transformer(tiny_teacher, tmp_path, limit):
    def cut(student):
        if limit:
            student.tokenizer.enable_truncation(limit)

    model = written("static:dim=8", tiny_teacher, tmp_path, cut)
    assert read(tmp_path, "config.json")["model_type"]
    settings = read(tmp_path, "tokenizer_config.json")
    assert settings["model_max_length"] == (limit or 1 << 20)
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).token_to_id(settings["pad_token"]) is not None
    assert numpy.abs(open_student(tmp_path).encode(TEXTS, "document") - model.encode(TEXTS)).max() < 1e-6
