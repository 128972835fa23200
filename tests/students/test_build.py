import json

import numpy
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize
from transformers import BertConfig, RobertaConfig, RobertaModel

from leafkit.errors import InputError, OptionError
from leafkit.students.spec import Fresh, Pretrained, Static
from leafkit.students.static import reduce_to_principal, token_texts
from leafkit.students.student import longest_input
from leafkit.teachers.open import open_teacher
from tests.fixtures.students import new_student


@pytest.fixture(scope="module")
def teacher(tiny_teacher):
    return open_teacher(tiny_teacher, compute="float32")


class BlackBox:
    """A teacher that has stored vectors and cannot encode new texts."""

    signals = frozenset({"embeddings"})

    def __init__(self, space):
        self.space = space


def build(text, teacher, model=None, **options):
    return new_student(text, teacher, model, **options)


def config(folder, vocabulary=200, **fields):
    settings = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertConfig(vocab_size=vocabulary, **settings, **fields).save_pretrained(folder)
    return folder / "config.json"


@pytest.mark.parametrize(
    "form", ["teacher", "teacher:layers=2", "PATH", "PATH:layers=0,3", "fresh:CONFIG", "static:dim=8"]
)
def test_every_form_gives_vectors_in_the_teachers_space_with_its_prompts(form, teacher, tiny_teacher, tmp_path):
    text = form.replace("PATH", str(tiny_teacher)).replace("CONFIG", str(config(tmp_path)))
    student = build(text, teacher, str(tiny_teacher))
    vectors = student.model.encode_query(["a list of files", "the user"])
    assert vectors.shape == (2, teacher.space.dim)
    assert numpy.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert student.model.prompts == {"query": "search: ", "document": ""}
    assert [*student.body.modules, student.head, *student.tail] == list(student.model)
    assert [isinstance(module, Normalize) for module in student.tail] == [True]
    assert not any(isinstance(module, Normalize) for module in student.body.modules)


def test_the_head_is_linear_with_a_bias_and_a_raw_teacher_gets_no_normalisation(tiny_teacher, teacher):
    raw = BlackBox(space_of(teacher, normalised=False))
    student = build(str(tiny_teacher), raw)
    assert student.tail == []
    assert isinstance(student.head.activation_function, torch.nn.Identity)
    assert student.linear.bias is not None


def space_of(teacher, **changes):
    import dataclasses

    return dataclasses.replace(teacher.space, **changes)


def test_a_student_that_starts_from_a_student_has_one_head(teacher, tiny_teacher, tmp_path):
    first = build("teacher:layers=2", teacher, str(tiny_teacher))
    first.model.save_pretrained(str(tmp_path / "first"))
    again = build(str(tmp_path / "first"), teacher)
    assert [type(module) for module in again.model] == [type(module) for module in first.model]
    features = again.preprocess(["a list"])
    ours, theirs = (student.body.first(dict(features))["token_embeddings"] for student in (again, first))
    assert torch.equal(ours, theirs)


def test_pooling_is_the_models_own_by_default(teacher, tiny_teacher):
    tokens = {}
    for form in ("teacher", "teacher:pooling=mean", "teacher:layers=4,pooling=cls"):
        student = build(form, teacher, str(tiny_teacher))
        transformer, pooling = student.body.modules
        features = transformer(student.preprocess(["list a file", "the"]))
        tokens[form] = features["token_embeddings"], pooling(dict(features))["sentence_embedding"]
    assert torch.equal(tokens["teacher"][1], tokens["teacher:pooling=mean"][1])
    each, pooled = tokens["teacher:layers=4,pooling=cls"]
    assert torch.equal(pooled, each[:, 0])
    assert not torch.allclose(pooled, tokens["teacher"][1], atol=1e-2)


def test_a_student_can_start_from_a_model_in_a_package(teacher, tiny_teacher, monkeypatch):
    monkeypatch.setattr("leafkit.students.source.package_folder", {"tiny": tiny_teacher}.__getitem__)
    one, other = build("package:tiny:layers=2", teacher), build(f"{tiny_teacher}:layers=2", teacher)
    assert numpy.array_equal(one.model.encode(["a list"]), other.model.encode(["a list"]))


def test_kept_layers_carry_the_teachers_weights(teacher, tiny_teacher):
    student = build("teacher:layers=2", teacher, str(tiny_teacher))
    original = SentenceTransformer(str(tiny_teacher), device="cpu")[0].model.encoder.layer
    for kept, layer in zip(student.transformer.encoder.layer, (original[0], original[3]), strict=True):
        assert all(torch.equal(one, other) for one, other in zip(kept.parameters(), layer.parameters(), strict=True))


def test_every_parameter_gets_a_gradient(teacher, tiny_teacher):
    student = build("teacher:layers=2", teacher, str(tiny_teacher))
    student.model.train()
    student.model(student.preprocess(["a list"]))["sentence_embedding"].sum().backward()
    idle = [name for name, parameter in student.model.named_parameters() if parameter.grad is None]
    assert idle == []


@pytest.mark.parametrize(("teacher_length", "wanted"), [(16, 16), (512, 64), (None, 64)])
def test_the_length_limit_is_the_teachers_but_at_most_the_number_of_positions(
    teacher_length, wanted, teacher, tiny_teacher
):
    black_box = BlackBox(space_of(teacher, max_length=teacher_length))
    student = build(str(tiny_teacher), black_box)
    assert student.token_limit == wanted
    student.model.encode(["file " * 600])


def test_robertas_positions_start_after_its_padding_index():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = RobertaModel(RobertaConfig(vocab_size=10, max_position_embeddings=34, **sizes))
    assert longest_input(model, tokenizer=None) == 32


def test_equal_seeds_give_equal_fresh_students(teacher, tiny_teacher, tmp_path):
    form = f"fresh:{config(tmp_path)}"
    one, same, other = (build(form, teacher, str(tiny_teacher), seed=seed) for seed in (1, 1, 2))
    vectors = [student.model.encode(["a list"]) for student in (one, same, other)]
    assert numpy.array_equal(vectors[0], vectors[1])
    assert not numpy.allclose(vectors[0], vectors[2])


def test_building_does_not_change_the_random_state_of_the_caller(teacher, tiny_teacher, tmp_path):
    before = torch.get_rng_state()
    build(f"fresh:{config(tmp_path)}", teacher, str(tiny_teacher))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_fresh_student_prefers_the_tokenizer_next_to_its_config(teacher, tiny_teacher, tmp_path):
    config(tmp_path)
    SentenceTransformer(str(tiny_teacher), device="cpu").tokenizer.save_pretrained(tmp_path)
    assert build(f"fresh:{tmp_path}", BlackBox(teacher.space)).model.encode(["a list"]).shape == (1, 32)


def test_a_token_table_starts_from_the_teachers_token_vectors(teacher, tiny_teacher):
    student = build("static:dim=32", teacher, str(tiny_teacher))
    words = token_texts(SentenceTransformer(str(tiny_teacher), device="cpu").tokenizer)
    rows = [words.index("file"), words.index("user"), words.index("network")]
    table = student.table_weight.detach().numpy()
    vectors = teacher.encode([words[row] for row in rows], "document")
    # All 32 directions are kept: distances between tokens are the teacher's.
    assert numpy.linalg.norm(table[rows[0]] - table[rows[1:]], axis=1) == pytest.approx(
        numpy.linalg.norm(vectors[0] - vectors[1:], axis=1), abs=1e-3
    )
    assert not table[words.index("")].any()


def test_a_teacher_that_cannot_encode_gets_a_random_table(teacher, tiny_teacher):
    form = f"static:dim=8,tokenizer={tiny_teacher}"
    one, same, other = (build(form, BlackBox(teacher.space), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.table_weight, same.table_weight)
    assert not torch.equal(one.table_weight, other.table_weight)


def test_principal_directions_keep_the_largest_variance_and_rows_of_zeros():
    draw = numpy.random.default_rng(0)
    vectors = (draw.standard_normal((50, 6)) * [9, 5, 3, 0.1, 0.1, 0.1]).astype(numpy.float32)
    vectors[7] = 0
    table = reduce_to_principal(vectors, 3)
    assert not table[7].any()
    used = numpy.delete(vectors, 7, axis=0)
    assert table.var() * 3 == pytest.approx(used.var(axis=0).sum(), rel=0.1)
    assert numpy.array_equal(reduce_to_principal(vectors, 3), table)


def test_a_student_that_cannot_be_built_raises_an_error_with_a_remedy(teacher, tiny_teacher, tmp_path):
    black_box = BlackBox(teacher.space)
    with pytest.raises(OptionError, match="is not a sentence-transformers model"):
        new_student(Pretrained(source="teacher"), black_box)
    with pytest.raises(OptionError, match="needs a tokenizer"):
        new_student(Static(), black_box)
    with pytest.raises(OptionError, match="no tokenizer next to"):
        new_student(Fresh(config=str(config(tmp_path))), black_box)
    with pytest.raises(OptionError, match="vocab_size"):
        build(f"fresh:{config(tmp_path, vocabulary=20)}", teacher, str(tiny_teacher))
    build("static:dim=8", teacher, str(tiny_teacher)).model.save_pretrained(str(tmp_path / "table"))
    with pytest.raises(OptionError, match="has no pooling of tokens"):
        build(f"{tmp_path / 'table'}:pooling=cls", teacher)
    for table, its in (("static:dim=64", teacher), (f"static:dim=64,tokenizer={tiny_teacher}", black_box)):
        with pytest.raises(OptionError, match="dim is 64; expected 1 to 32, the width of the teacher's vectors"):
            build(table, its, str(tiny_teacher))
    with pytest.raises(InputError, match="cannot be opened as a sentence-transformers model"):
        build(str(tmp_path / "absent"), teacher)
    (tmp_path / "bad.json").write_text(json.dumps({"hidden_size": 3}))
    with pytest.raises(InputError, match="is not a transformers config"):
        build(f"fresh:{tmp_path / 'bad.json'}", teacher)
