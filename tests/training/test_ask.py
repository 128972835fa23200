"""The teacher answers for any text, from the cache where it can, and the record says how many texts it answered for."""

import contextlib
import dataclasses

import numpy
import pytest
import torch

from leafkit.files.digest import text_key
from leafkit.methods.method import Objective, Writer
from leafkit.teachers.open import open_teacher
from leafkit.training.ask import TeacherAsk, count_asked
from leafkit.vectors.cached import CachedEncoder
from leafkit.vectors.rotation import fit_rotation
from leafkit.vectors.store import VectorStore

NEW = ["kill the server", "git merge", "a package"]


@pytest.fixture
def teacher(tiny_teacher):
    return open_teacher(str(tiny_teacher))


@pytest.fixture
def store(teacher, tmp_path):
    return VectorStore.open(tmp_path / "cache", teacher.space)


def test_answers_are_the_teachers_and_a_text_is_counted_once_per_role(teacher, store):
    ask = TeacherAsk(teacher, store, set())
    vectors = ask.encode([*NEW, NEW[0]], ["query", "document", "query", "document"])
    assert ask.calls == 4
    numpy.testing.assert_allclose(vectors[0], teacher.encode(NEW[:1], "query")[0], atol=1e-3)
    numpy.testing.assert_allclose(vectors[3], teacher.encode(NEW[:1], "document")[0], atol=1e-3)
    assert numpy.array_equal(ask.encode(NEW[:1], ["query"]), vectors[:1])
    assert ask.calls == 4


def test_a_text_in_the_cache_is_counted_but_not_encoded_again(teacher, store, monkeypatch):
    store.fill(teacher, NEW, "query")
    monkeypatch.setattr(VectorStore, "_encode", lambda *_: pytest.fail("the teacher was asked again"))
    ask = TeacherAsk(teacher, store, set())
    ask.encode(NEW, ["query"] * 3)
    assert ask.calls == 3


def test_the_vocabulary_is_in_the_order_of_the_ids(teacher, store):
    words = TeacherAsk(teacher, store, set()).vocabulary()
    assert words[:6] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]
    cached = CachedEncoder(teacher, store)
    assert TeacherAsk(cached, store, set()).vocabulary() == words
    with pytest.raises(TypeError, match="must need 'model'"):
        TeacherAsk(object(), store, set()).vocabulary()


def test_answers_are_in_the_rotated_space(teacher, store):
    plain = TeacherAsk(teacher, store, set()).encode(NEW, ["query"] * 3)
    mapping = fit_rotation("random", plain, teacher.space, seed=0)
    rotated = TeacherAsk(teacher, store, set(), mapping=mapping).encode(NEW, ["query"] * 3)
    numpy.testing.assert_allclose(rotated @ rotated.T, plain @ plain.T, atol=1e-5)
    assert not numpy.allclose(rotated, plain, atol=0.1)


@pytest.mark.parametrize("torn", [0, 7])
def test_what_was_asked_is_known_after_a_kill_in_the_middle_of_a_key(torn, teacher, store, tmp_path):
    log = tmp_path / "asked.bin"
    TeacherAsk(teacher, store, set(), log=log).encode(NEW, ["query"] * 3)
    log.write_bytes(log.read_bytes() + b"x" * torn)
    resumed = TeacherAsk(teacher, store, set(), log=log)
    assert resumed.calls == 3
    resumed.encode([*NEW, "print"], ["query"] * 4)
    assert TeacherAsk(teacher, store, set(), log=log).calls == 4


def test_counting_worked_by_hand():
    keys = [text_key("query", text) for text in "abcd"]
    assert count_asked(set(), keys, 4) == 4
    assert count_asked(set(keys), keys, 2) == 4
    assert count_asked({keys[0], b"new"}, keys, 4) == 5
    assert count_asked({keys[0], b"new"}, keys, 1) == 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adding(Writer):
    """A writer that adds new texts, and asks the teacher about the first of them."""

    asking: int = 0

    @property
    def needs(self):
        return frozenset({"online"})

    def write(self, texts, ask, seed):
        if self.asking:
            ask.encode(NEW[: self.asking], ["query"] * self.asking)
        more = texts.choose(range(len(texts)))
        for text in NEW[1:]:
            more.add(text, "query", text_key("query", text), domain="new")
        return more


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curious(Objective):
    """An objective that asks the teacher about a new text at every fourth step, and about one training text."""

    online: bool = True
    seen: list = dataclasses.field(default_factory=list)

    @property
    def needs(self):
        return frozenset({"online"} if self.online else ())

    @property
    def refresh_every(self):
        return 4

    def build(self, setting):
        self.seen.append(setting.ask is not None)
        return torch.nn.Module()

    def refresh(self, state, setting, step):
        if setting.ask:
            [known] = setting.texts_of(numpy.array([0]))
            role = ("query", "document")[setting.roles[0]]
            answers = setting.ask.encode([f"text {step}", known], ["query", role])
            numpy.testing.assert_allclose(answers[1], setting.targets(numpy.array([0]))[0], atol=1e-6)


@pytest.mark.parametrize(("asking", "head", "expected"), [(0, "ridge", 198), (3, "random", 199)])
def test_the_record_counts_what_a_writer_asked_and_the_training_used(asking, head, expected, planned):
    training = planned(Adding(asking=asking), epochs=0.1, head=head).training
    assert training["data"]["training"] == 198
    assert training["data"]["asked"] == expected


def test_a_writer_that_needs_the_vectors_of_all_texts_asks_for_all(distil):
    data = distil(writers=["condense:mode=herding,share=0.25"], epochs=0, head="random").training["data"]
    assert (data["training"], data["asked"]) == (49, 196)


def test_a_method_that_does_not_need_the_teacher_cannot_ask_it(planned):
    other = Curious(online=False)
    assert planned(other, epochs=0.1).training["data"]["asked"] == 196
    assert other.seen == [False]


def test_a_resumed_training_counts_what_it_asked_before(planned, monkeypatch):
    @contextlib.contextmanager
    def stop():
        steps = iter(range(100))
        yield lambda: next(steps) == 6

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("leafkit.training.loop.interruption", stop)
        planned(Curious(), epochs=1)
    asking = Curious()
    assert planned(asking, epochs=1).training["data"]["asked"] == 196 + 4
    assert asking.seen == [True]
