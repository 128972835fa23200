"""Trainings with a live teacher in the step, with views that feeds add, and with changed embeddings."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.batch import require_tokens
from leafkit.methods.method import Feed, Objective
from leafkit.methods.objectives.leaf import Leaf
from leafkit.training.distill import distill
from leafkit.training.loop import Loop
from tests.conftest import make_model


@dataclass(frozen=True, kw_only=True)
class Words(Objective):
    """Match the mean state of the words, and go on through the upper half of the teacher."""

    @property
    def needs(self):
        return frozenset({"tokens"})

    def build(self, setting):
        state = torch.nn.Module()
        state.live = [setting.live]  # in a list, so that the teacher is no part of the state
        state.map = torch.nn.Linear(32, 32)
        return state

    def terms(self, batch, state):
        tokens, (live,) = require_tokens(batch), state.live
        assert tokens.mask.sum() > 0
        assert not tokens.teacher.requires_grad
        near = ((state.map(tokens.student) - tokens.teacher) ** 2).mean(dim=-1)
        near = (near * tokens.mask).sum(dim=1) / tokens.mask.sum(dim=1)
        onward = live.onward(state.map(tokens.student), batch.features, 2)
        return {"near": near, "onward": (onward - batch.teacher).norm(dim=-1)}


@dataclass(frozen=True, kw_only=True)
class Views(Feed):
    """Change the view of each step by ``change``; the signals ``wanted`` are needed."""

    wanted: frozenset = frozenset()
    change: Callable[[Any], Any]

    @property
    def needs(self):
        return self.wanted

    def views(self, view, state):
        return self.change(view)


def trained(out):
    """The weights and the validation curve of a finished student."""
    entries = json.loads((out / "leafkit.json").read_text())["training"]["history"]
    curve = [{name: value for name, value in entry.items() if name != "seconds"} for entry in entries]
    return [file.read_bytes() for file in sorted(out.rglob("*.safetensors"))], curve


@pytest.fixture(scope="module")
def fit_into(texts_file, tiny_teacher, tmp_path_factory):
    """Train one epoch into a folder and return weights and curve."""
    cache = tmp_path_factory.mktemp("cache")

    def run(out, methods=(), feeds=(), **settings):
        settings = {
            "student": "teacher:layers=2",
            "learning_rate": 1e-3,
            "batch_size": 16,
            "precision": "float32",
            "compute": "float32",
            "valid_every": 8,
            "export": False,
            "cache": cache,
            **settings,
        }
        distill(texts_file, str(tiny_teacher), out=out, methods=[Leaf(), *methods], feeds=list(feeds), **settings)
        return trained(out)

    return run


@pytest.fixture
def fit(fit_into, tmp_path):
    """Train one epoch into the folder NAME and return weights and curve."""
    return lambda name, *methods, **settings: fit_into(tmp_path / name, *methods, **settings)


@pytest.fixture(scope="module")
def plain(fit_into, tmp_path_factory):
    """The weights and the curve of plain LEAF."""
    return fit_into(tmp_path_factory.mktemp("plain") / "student")


def doubled(view):
    """Return the view with a second view of each text, equal to the first."""
    return repeated(view, torch.arange(len(view.rows)).repeat(2))


def once_more(view):
    """Return the view with a second view of its first text, equal to the first."""
    return repeated(view, torch.cat([torch.arange(len(view.rows)), torch.zeros(1, dtype=torch.long)]))


def repeated(view, rows):
    """Return the ``rows`` of the view, which may name a row more than once."""
    fields = ("teacher", "roles", "rows", "labels", "domains", "origin")
    features = {name: value[rows] for name, value in view.features.items()}
    return dataclasses.replace(view, features=features, **{name: getattr(view, name)[rows] for name in fields})


def test_a_live_teacher_that_no_loss_uses_changes_no_bit(fit, plain):
    assert fit("live", [Words(weight=0)]) == plain


def test_a_resumed_training_with_token_states_equals_an_uninterrupted_one(fit, plain, monkeypatch):
    whole, step = fit("whole", [Words()]), Loop._step
    assert whole != plain

    def stop(loop, rows):
        if loop.state.step == 7:
            raise KeyboardInterrupt
        step(loop, rows)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Loop, "_step", stop)
        fit("stopped", [Words()], checkpoint_every=4)
    assert fit("stopped", [Words()], checkpoint_every=4) == whole


def test_a_second_equal_view_of_each_text_changes_no_gradient(fit, plain):
    curve, curve_twice = plain[1], fit("twice", feeds=[Views(change=doubled)])[1]
    assert curve_twice[-1]["cosine_mean"] == pytest.approx(curve[-1]["cosine_mean"], abs=1e-4)
    assert curve_twice[-1]["loss"] == pytest.approx(curve[-1]["loss"], abs=1e-4)


def test_a_text_with_more_views_than_others_weighs_no_more(fit, plain):
    assert fit("more", feeds=[Views(change=once_more)])[1][-1] == pytest.approx(plain[1][-1], abs=1e-4)


def test_embeddings_that_are_changed_to_themselves_change_no_bit(fit, plain):
    def views(change):
        return [Views(change=lambda view: dataclasses.replace(view, embed=change))]

    assert fit("same", feeds=views(lambda states: states)) == plain
    assert fit("noisy", feeds=views(lambda states: states * 1.5)) != plain


def test_only_a_feed_that_needs_it_has_its_texts_encoded_by_the_live_teacher(fit, monkeypatch):
    seen = []

    def reverse(view):
        ids = view.features["input_ids"].clone()
        ids[0, 1:3] = ids[0, 1:3].flip(0)
        return dataclasses.replace(view, features=view.features | {"input_ids": ids})

    batch = Loop._batch
    monkeypatch.setattr(Loop, "_batch", lambda loop, view: seen.append((loop, view)) or batch(loop, view))
    fit("live", feeds=[Views(change=reverse, wanted=frozenset({"live"}))], rotate="random")
    loop, view = seen[-1]
    stored = torch.from_numpy(loop.data.targets(view.rows.numpy()))
    expected = loop.companions.live.vectors(view.features)
    changed = (view.teacher != stored).any(dim=1)
    assert changed.tolist() == [True, *[False] * (len(stored) - 1)]
    torch.testing.assert_close(view.teacher[0], expected[0])
    torch.testing.assert_close(stored[1:], expected[1:], atol=1e-3, rtol=0)  # stored in float16
    fit("stored", feeds=[Views(change=reverse)])
    loop, view = seen[-1]
    assert loop.companions.live is None
    assert torch.equal(view.teacher, torch.from_numpy(loop.data.targets(view.rows.numpy())))


def test_a_student_with_another_tokenizer_is_refused_before_the_teacher_encodes(fit, tmp_path, tiny_teacher):
    other = make_model(tmp_path / "other", width=32, layers=2, seed=3)
    for file in other.rglob("tokenizer.json"):
        tokenizer = json.loads(file.read_text())
        tokenizer["normalizer"]["lowercase"] = False
        file.write_text(json.dumps(tokenizer))
    with pytest.raises(
        OptionError, match=r"needs a student with the teacher's tokenizer, but the student reads .* ids"
    ):
        fit("refused", [Words()], student=str(other), cache=tmp_path / "cache")
    assert {path.name for path in tmp_path.iterdir()} == {"other", "other-transformer"}


@pytest.mark.parametrize("kind", ["token", "none"])
def test_a_student_without_the_teachers_prompts_is_refused_before_the_teacher_encodes(kind, fit, tmp_path):
    with pytest.raises(OptionError, match=f"lack the teacher's prompts with student_prompt={kind}"):
        fit("refused", [Words()], student_prompt=kind, cache=tmp_path / "cache")
    assert not any(tmp_path.iterdir())


def test_a_token_table_has_no_token_states(fit, tmp_path):
    with pytest.raises(OptionError, match="needs tokens, but this training has none"):
        fit("refused", [Words()], student="static:dim=8")
    assert not (tmp_path / ".refused.run").exists()
