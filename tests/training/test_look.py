"""What a probe sees at each validation: the held-out texts on both sides, and where the training stands."""

import dataclasses
import json

import numpy
import pytest

from leafkit.methods.method import Probe
from leafkit.training.facts import training_facts
from leafkit.training.recipe import Recipe
from leafkit.vectors.cosine import row_cosines


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seeing(Probe):
    """A probe that keeps its looks, with token states if ``reading`` is true."""

    reading: bool = False
    looks: list = dataclasses.field(default_factory=list)

    @property
    def needs(self):
        return frozenset({"tokens"} if self.reading else ())

    def observe(self, look):
        self.looks.append((look, list(look.history), look.tokens(numpy.array([2, 0])) if self.reading else None))
        return {"step": look.step}


@pytest.fixture
def files(sentences, tmp_path):
    """Texts with two classes, and held-out texts of which one has a class that no training text has."""
    training, held_out = tmp_path / "texts.jsonl", tmp_path / "valid.jsonl"
    labels = {training: ["b", "c"], held_out: ["c", None, "a", "b"]}
    for path, rows in ((training, sentences[:60]), (held_out, sentences[60:64])):
        parts = [{"text": text, "label": label} for text, label in zip(rows, labels[path] * 30)]
        path.write_text("".join(json.dumps(part) + "\n" for part in parts))
    return {"texts": training, "valid": held_out}


def test_a_probe_sees_the_held_out_texts_and_where_the_training_stands(planned, files, sentences):
    probe = Seeing()
    history = planned(probe, epochs=3, valid_every=5, **files).training["history"]
    looks = [look for look, *_ in probe.looks]
    assert [look.step for look in looks] == [entry["step"] for entry in history] == [0, 5, 10, 12]
    assert {(look.steps, look.validations) for look in looks} == {(12, 4)}
    assert [len(earlier) for _, earlier, _ in probe.looks] == [0, 1, 2, 3]
    assert probe.looks[2][1][1]["seeing"] == {"step": 5}
    assert looks[0].methods == ["leaf", "seeing"]
    assert list(looks[0].texts) == sentences[60:64]
    assert looks[0].labels.tolist() == [1, -1, -1, 0]
    with pytest.raises(TypeError, match="must need 'tokens'"):
        looks[0].tokens(numpy.array([0]))
    cosines = [float(row_cosines(look.student, look.teacher).mean()) for look in looks]
    assert cosines == pytest.approx([entry["cosine_mean"] for entry in history])


def test_a_probe_reads_token_states_of_both_sides_without_gradients(planned, files):
    probe = Seeing(reading=True)
    planned(probe, epochs=0, **files)
    look, _, tokens = probe.looks[0]
    assert tokens.student.shape == tokens.teacher.shape
    assert tokens.mask.shape == tokens.student.shape[:2]
    assert not tokens.student.requires_grad
    words = [len(look.texts[row].split()) for row in (2, 0)]
    assert (tokens.mask.sum(dim=1).numpy() >= words).all()
    with pytest.raises(IndexError, match="outside the 4 held-out texts"):
        look.tokens(numpy.array([4]))


@pytest.mark.parametrize(
    ("epochs", "valid_every", "steps"),
    [(0, None, []), (1, None, list(range(1, 13))), (1, 5, [5, 10, 12]), (1, 50, [12])],
)
def test_the_planned_validations_are_those_of_the_loop(epochs, valid_every, steps):
    rows = numpy.zeros(12 * 32, dtype=numpy.int64)
    recipe = Recipe(epochs=epochs, valid_every=valid_every)
    pairs = numpy.zeros((0, 2), dtype=numpy.int64)
    facts = training_facts(
        recipe, dim=2, width=2, depth=1, roles=rows, labels=rows, domains=rows, pairs=pairs, texts_of=None
    )
    every = recipe.steps_between_validations(len(rows))
    assert [step for step in range(1, facts.steps + 1) if step % every == 0 or step == facts.steps] == steps
    assert facts.validations == 1 + len(steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asking(Probe):
    """A probe that encodes the held-out texts again, by the student and by the teacher."""

    looks: list = dataclasses.field(default_factory=list)

    @property
    def needs(self):
        return frozenset({"online"})

    def observe(self, look):
        texts = list(look.texts)
        ours, theirs = (encode(texts, ["document"] * len(texts)) for encode in (look.encode, look.ask.encode))
        self.looks.append((look, ours, theirs))
        return {}


def test_a_probe_encodes_any_text_by_student_and_teacher(planned, files):
    probe = Asking()
    planned(probe, epochs=1, **files)
    for look, ours, theirs in probe.looks:
        numpy.testing.assert_allclose(ours, look.student, atol=1e-5)
        numpy.testing.assert_allclose(theirs, look.teacher, atol=1e-5)
        assert look.encode([], []).shape == (0, look.student.shape[1])


def test_a_probe_that_does_not_need_the_teacher_cannot_ask(planned, files):
    probe = Seeing()
    planned(probe, epochs=1, **files)
    assert probe.looks[0][0].ask is None
