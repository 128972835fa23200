"""A search for the student: what it finds is kept in the run folder with its pooling and its weights."""

import dataclasses
import shutil

import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, BertConfig, BertModel

from leafkit.errors import DamageError, InputError
from leafkit.methods.method import Architecture, PickedStudent
from leafkit.methods.student_search import StudentSearch, choose_student
from leafkit.students.body import fresh_body
from leafkit.students.spec import Fresh, Static
from leafkit.training.source import teacher_model


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found(Architecture):
    """A search that always finds the same student."""

    student: PickedStudent
    calls: list = dataclasses.field(default_factory=list)

    def pick(self, teacher, texts, budget, seed):
        self.calls.append((list(texts), seed))
        return self.student


@pytest.fixture
def config(tiny_teacher):
    vocabulary = len(SentenceTransformer(str(tiny_teacher), device="cpu").tokenizer)
    return BertConfig(
        vocab_size=vocabulary, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )


@pytest.fixture
def search(tiny_teacher, tmp_path, config):
    """Return a function that runs a search that finds some student, in the same folder each time."""
    from leafkit.teachers.open import open_teacher

    teacher = open_teacher(str(tiny_teacher))

    def run(**fields):
        found = Found(student=PickedStudent(config=config.to_dict(), **fields))
        spec = StudentSearch(name="found", architecture=found, budget="any").student(tmp_path, teacher, ["a"], 3)
        return spec, found.calls, fresh_body(spec, teacher_model(teacher), seed=0)

    return run


def test_without_weights_the_student_is_random_and_pools_the_mean(search):
    spec, calls, body = search()
    assert spec.weights is None
    assert calls == [(["a"], 3)]
    assert (body.modules[1].pooling_mode, body.width) == ("mean", 16)


def test_pooling_and_weights_are_those_that_the_search_found(search, config, tmp_path):
    torch.manual_seed(5)
    model = BertModel(config, add_pooling_layer=False)
    model.save_pretrained(tmp_path / "made")
    spec, _, body = search(pooling="cls", weights=tmp_path / "made")
    shutil.rmtree(tmp_path / "made")
    assert body.modules[1].pooling_mode == "cls"
    trained = dict(model.named_parameters())
    for name, value in body.transformer.named_parameters():
        assert torch.equal(value, trained[name])
    again, calls, same = search()
    assert (again, calls) == (spec, [])
    assert torch.equal(next(same.transformer.parameters()), next(body.transformer.parameters()))


def test_what_a_search_found_is_never_used_if_it_was_changed(search, tmp_path):
    search()
    (tmp_path / "architecture" / "pooling.json").write_text('{"pooling": "cls"}')
    with pytest.raises(DamageError, match="to start again"):
        search()


@pytest.mark.parametrize("wrong", ["wider", "deeper", "none"])
def test_weights_that_do_not_fit_the_config_raise(wrong, config, tmp_path, tiny_teacher):
    config.save_pretrained(tmp_path / "config")
    other = {"wider": {"hidden_size": 32}, "deeper": {"num_hidden_layers": 0}, "none": {}}[wrong]
    if other:
        AutoModel.from_config(BertConfig(**config.to_dict() | other)).save_pretrained(tmp_path / "made")
    with pytest.raises(InputError, match=r"the weights in .* do not fit"):
        fresh_body(Fresh(config=str(tmp_path / "config"), weights=str(tmp_path / "made")), str(tiny_teacher), seed=0)


def test_a_named_student_needs_no_search():
    search = choose_student("static:dim=8", None, None)
    assert search.named == Static(dim=8)
