import json
import logging
import warnings

import numpy
import pytest
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from leafkit.students.encoder import open_student
from leafkit.students.folder import write_student
from leafkit.teachers.open import open_teacher
from tests.fixtures.students import new_student

TEXTS = ["a list of files", "the user of a server " * 40]


def written(spec, teacher, folder, change=lambda student: None):
    opened = open_teacher(teacher, compute="float32")
    student = new_student(spec, opened, teacher)
    change(student)
    write_student(folder, student, opened.space, {"recipe": {}})
    return student.model


def read(folder, name):
    return json.loads((folder / name).read_bytes())


def test_text_embeddings_inference_finds_limit_and_pooling(tiny_teacher, tmp_path):
    written("teacher:layers=2", tiny_teacher, tmp_path)
    assert read(tmp_path, "sentence_bert_config.json")["max_seq_length"] == 64
    pooling = read(tmp_path, "1_Pooling/config.json")
    modes = {name: on for name, on in pooling.items() if name.startswith("pooling_mode_")}
    assert len(modes) == 6
    assert [name for name, on in modes.items() if on] == ["pooling_mode_mean_tokens"]
    assert {"hidden_size", "num_hidden_layers", "max_position_embeddings"} <= set(read(tmp_path, "config.json"))


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
