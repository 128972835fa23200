"""A training in the laboratory: it learns, obeys the laws of methods, and gives methods their dose."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy
import pytest
import torch

from eval.mechanism.figures import cosine
from eval.mechanism.rounds import LabRounds, run_rounds
from eval.mechanism.training import Job, lab_plan, setting_of, train
from leafkit.errors import OptionError
from leafkit.methods.feeds.pcoreset import Pcoreset
from leafkit.methods.method import Objective, Topology
from leafkit.methods.objectives.leaf import Leaf
from leafkit.students.head import Linear

JOB = Job(steps=60, batch_size=16, width=10)


@dataclass(frozen=True, kw_only=True)
class Doubled(Objective):
    """LEAF once more, with a head of zeros at the end."""

    paper: ClassVar[str] = "https://example.org"

    def terms(self, batch, state):
        return Leaf().terms(batch)

    def finish(self, state, head):
        return Linear(weight=0 * head.weight, bias=0 * head.bias, penalty=0)


def weights(student):
    return torch.cat([parameter.detach().flatten() for parameter in student.parameters()])


def test_a_student_learns_and_the_seed_decides_the_result(texts):
    before = replace(JOB, steps=1, learning_rate=1e-9)
    start, trained, again = (train(["leaf"], texts, job).encode(texts) for job in (before, JOB, JOB))
    assert cosine(trained, texts.vectors) > cosine(start, texts.vectors) + 0.01
    assert numpy.array_equal(trained, again)
    assert not numpy.array_equal(trained, train(["leaf"], texts, replace(JOB, seed=1)).encode(texts))


def test_a_method_of_weight_0_changes_nothing(texts):
    plain = train(["leaf"], texts, JOB)
    beside = train(["leaf", "dhkd:weight=0,count=4,units=0"], texts, JOB)
    assert torch.equal(weights(plain.student), weights(beside.student))
    assert beside.pulls["dhkd"] == 0


def test_a_pull_is_the_gradient_norm_relative_to_leaf(texts):
    double = train([Leaf(), Doubled(weight=0.001)], texts, replace(JOB, pulls={"test_training": 0.5}))
    assert double.weights["test_training"] == pytest.approx(0.5)
    assert double.pulls["test_training"] == pytest.approx(0.5)


def test_reserved_texts_are_not_drawn_and_only_their_method_knows_them(texts):
    trained = train(["leaf", "dho:reserved=0.2"], texts, replace(JOB, steps=200))
    assert (trained.drawn == 0).sum() == 4 * int(0.2 * 60)
    assert len(trained.states["dho"].hidden_of_reserved()[1]) == 48


def test_a_pull_of_a_method_that_does_not_train_is_refused(texts):
    with pytest.raises(OptionError, match="a pull needs leaf and a method of the plan; got sinkd"):
        train(["leaf"], texts, replace(JOB, pulls={"sinkd": 1.0}))


def test_finish_decides_the_head(texts):
    assert not train([Leaf(), Doubled()], texts, JOB).encode(texts).any()


def test_a_feed_decides_which_texts_are_drawn(texts):
    feed = Pcoreset(every=0, first=30, picks=10, share=0.25, space="feature")
    drawn = train(["leaf", feed], texts, JOB).drawn
    assert (drawn > 0).sum() == 30
    assert drawn.sum() == 60 * 16


class Reserving(Doubled):
    """Reserves the first ten texts."""

    def reserve(self, facts):
        return numpy.arange(10)


def test_reserved_texts_are_never_drawn(texts):
    drawn = train([Leaf(), Reserving()], texts, JOB).drawn
    assert not drawn[:10].any()
    assert drawn[10:].all()


def test_a_setting_shows_the_student_at_its_start(texts):
    setting, rows = setting_of(texts, JOB), numpy.array([4, 7])
    batch = setting.batch(rows)
    assert numpy.allclose(batch.student.detach(), setting.student(rows))
    assert numpy.allclose(batch.hidden.detach(), setting.hidden(rows))
    assert setting.texts_of(rows) == ["text 4", "text 7"]
    assert len(batch.layers) == setting.depth == 1
    assert setting.open("student:layers=3").outputs(torch.from_numpy(texts.features[rows])).hidden.shape == (2, 10)


def test_other_teachers_are_those_of_the_job(texts):
    setting = setting_of(texts, replace(JOB, others={"b": texts.vectors[:, :3]}))
    assert setting.other_teacher("b")(numpy.array([1])).shape == (1, 3)
    with pytest.raises(OptionError, match="no other teacher 'c'; expected one of: b"):
        setting.other_teacher("c")


def test_methods_outside_the_step_are_refused():
    with pytest.raises(OptionError, match="condense takes no part in a step"):
        lab_plan(["leaf", "condense"])


class TwoRounds(Topology):
    """A student of some texts, and another that continues from it on other targets."""

    paper: ClassVar[str] = "https://example.org"

    def run(self, training):
        rows = numpy.arange(training.setting.texts)
        training.fit("first", rows=rows[:100])
        training.fit("second", targets=-training.student("first", rows), start="first")


def test_a_topology_drives_its_trainings(texts):
    rounds = LabRounds(texts, JOB)
    TwoRounds().run(rounds)
    first = rounds.student("first", numpy.arange(240))
    assert numpy.array_equal(first, train(["leaf"], texts.choose(numpy.arange(100)), JOB).encode(texts))
    assert cosine(rounds.last.encode(texts), first) < 0.95
    assert numpy.array_equal(run_rounds(TwoRounds(), texts, JOB).encode(texts), rounds.last.encode(texts))


def test_a_round_can_train_a_student_of_another_depth(texts):
    rounds = LabRounds(texts, JOB)
    rounds.fit("deep", peer="layers=2")
    rounds.fit("deeper", start="deep")
    rounds.fit("plain")
    assert [len(rounds.trained(name).student.layers) for name in ("deep", "deeper", "plain")] == [2, 2, 1]


@dataclass(frozen=True, kw_only=True)
class Keeping(Objective):
    """LEAF once more, with the first five texts reserved."""

    paper: ClassVar[str] = "https://example.org"

    def reserve(self, facts):
        return numpy.arange(5)

    def build(self, setting):
        state = torch.nn.Module()
        state.register_buffer("told", torch.from_numpy(setting.reserved))
        return state

    def terms(self, batch, state):
        return Leaf().terms(batch)


def test_reserved_texts_are_never_drawn_and_the_method_is_told_its_own(texts):
    trained = train([Leaf(), Keeping()], texts, JOB)
    assert not trained.drawn[:5].any()
    assert (trained.drawn[5:] > 0).all()
    assert trained.states["test_training"].told.tolist() == [0, 1, 2, 3, 4]
