"""The parts of a student, recognised by the classes of sentence-transformers."""

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, StaticEmbedding, Transformer

from leafkit.students.student import Body, Student, transformer_of
from leafkit.teachers.open import open_teacher
from tests.fixtures.students import new_student


@pytest.fixture(scope="module")
def teacher(tiny_teacher):
    return open_teacher(tiny_teacher, compute="float32")


@pytest.fixture(params=["teacher:layers=2", "static:dim=8"])
def student(request, teacher, tiny_teacher):
    return new_student(request.param, teacher, tiny_teacher)


@pytest.fixture
def model(tiny_teacher):
    return SentenceTransformer(str(tiny_teacher), device="cpu")


def test_body_head_and_tail_are_all_modules_in_order(student):
    assert [*student.body.modules, student.head, *student.tail] == list(student.model)


def test_the_parts_in_a_row_give_the_vectors_of_the_whole_model(student):
    texts = ["a list of files", "the user"]
    features = student.preprocess(texts)
    for module in (*student.body.modules, student.head, *student.tail):
        features = module(features)
    expected = student.model.encode(texts, convert_to_tensor=True)
    assert torch.allclose(features["sentence_embedding"], expected, atol=1e-6)


def test_kind_depth_and_width_describe_the_body(teacher, tiny_teacher):
    transformer = new_student("teacher:layers=2", teacher, tiny_teacher)
    table = new_student("static:dim=8", teacher, tiny_teacher)
    assert (transformer.kind, transformer.depth, transformer.body.width) == ("transformer", 2, 32)
    assert (table.kind, table.depth, table.body.width) == ("table", 0, 8)
    with pytest.raises(TypeError, match="a token table has no transformer"):
        _ = table.transformer


def test_the_body_of_a_model_ends_before_its_final_linear_maps(model):
    transformer, pooling, _ = model
    linear = Dense(32, 32, activation_function=torch.nn.Identity())
    bent = Dense(32, 32)  # tanh
    assert Body.of([transformer, pooling, linear, Normalize(), linear]).modules == (transformer, pooling)
    assert Body.of([transformer, pooling, bent, linear]).modules == (transformer, pooling, bent)


def test_a_subclass_of_a_stock_module_is_unknown(model):
    class Special(Pooling):
        pass

    transformer, pooling, _ = model
    assert Body((transformer, pooling)).unknown_modules == []
    assert Body((transformer, Special(32, "mean"))).unknown_modules == ["Special"]


def test_a_model_without_a_linear_map_is_not_a_student(model):
    with pytest.raises(TypeError, match="has no Dense module"):
        _ = Student(model).head


def test_truncation_ends_with_its_block_also_after_an_error(teacher, tiny_teacher):
    student = new_student("teacher:layers=2", teacher, tiny_teacher)
    with pytest.raises(KeyError), student.truncating_at(9):
        assert student.token_limit == 9
        raise KeyError
    assert student.token_limit == 64
    with student.truncating_at(500), student.truncating_at(None):
        assert student.token_limit == 64


def test_the_transformer_of_a_model_is_that_of_its_first_module(model):
    assert isinstance(model[0], Transformer)
    assert transformer_of(model) is model[0].model
    assert transformer_of([StaticEmbedding(model.tokenizer, embedding_dim=4)]) is None
    assert transformer_of([]) is None
