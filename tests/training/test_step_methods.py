"""What a step method may do besides its losses: reserve texts, measure the student in time, and finish its head."""

import contextlib
import dataclasses
import json

import numpy
import pytest
import torch
from sentence_transformers import SentenceTransformer

from leafkit.methods.method import Objective
from leafkit.vectors.cosine import row_cosines


class Memory(torch.nn.Module):
    """What `Watcher` remembers: the number of refreshes, and the step of the last one."""

    def __init__(self):
        super().__init__()
        self.register_buffer("refreshes", torch.tensor(0))
        self.register_buffer("last", torch.tensor(-1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watcher(Objective):
    """An objective without a loss that records what it sees, and turns the head at the end if ``turns`` is true."""

    kept: tuple = ()
    every: int = 0
    turns: bool = False
    seen: dict = dataclasses.field(default_factory=dict)

    def note(self, name, value):
        self.seen.setdefault(name, []).append(value)

    def reserve(self, facts):
        return numpy.array(self.kept, dtype=numpy.int64)

    def build(self, setting):
        self.note("setting", setting)
        return Memory()

    @property
    def refresh_every(self):
        return self.every

    def refresh(self, state, setting, step):
        self.note("refreshed", step)
        state.refreshes += 1
        state.last.fill_(step)
        rows = numpy.array(self.kept[:4] or (0, 1), dtype=numpy.int64)
        batch = setting.batch(rows)
        self.note("batch", batch)
        with torch.enable_grad():
            self.note("gradient", torch.autograd.grad(batch.student.sum(), [batch.hidden])[0])
        self.note("hidden", setting.hidden(rows))
        self.note("student", setting.student(rows))
        self.note("texts", setting.texts_of(rows))

    def terms(self, batch, state):
        self.note("drawn", batch.rows.numpy().copy())
        self.note("state", int(state.last))
        return {}

    def finish(self, state, head):
        self.note("finished", int(state.refreshes))
        return dataclasses.replace(head, weight=-head.weight, bias=-head.bias) if self.turns else head


class Second(Watcher):
    """Another watcher, which has its own reserve."""


def drawn(watcher):
    return numpy.concatenate(watcher.seen["drawn"])


def result(folder):
    """The weights of a student, and its validations without times."""
    history = json.loads((folder / "leafkit.json").read_text())["training"]["history"]
    entries = [{name: value for name, value in entry.items() if name != "seconds"} for entry in history]
    return [file.read_bytes() for file in sorted(folder.rglob("*.safetensors"))], entries


def test_no_step_draws_a_reserved_text_and_an_epoch_draws_all_others(planned, sentences):
    watcher = Watcher(kept=tuple(range(0, 196, 4)))
    facts = planned(watcher, epochs=2)
    assert sorted(drawn(watcher)) == sorted(2 * [row for row in range(196) if row % 4])
    setting = watcher.seen["setting"][0]
    assert setting.reserved.tolist() == list(range(0, 196, 4))
    assert (setting.texts, setting.steps, setting.epoch_steps) == (196, 20, 10)
    assert facts.training["steps"] == 20
    check_batch(watcher, [0, 4, 8, 12], sentences)


def check_batch(watcher, rows, sentences):
    """A batch of any rows has gradients and agrees with the other functions of the setting."""
    batch = watcher.seen["batch"][0]
    assert batch.rows.tolist() == rows
    assert watcher.seen["gradient"][0].abs().sum() > 0
    numpy.testing.assert_allclose(batch.hidden.detach(), watcher.seen["hidden"][0], atol=1e-5)
    numpy.testing.assert_allclose(batch.student.detach(), watcher.seen["student"][0], atol=1e-5)
    targets = watcher.seen["setting"][0].targets(numpy.array(rows))
    assert torch.equal(batch.teacher, torch.from_numpy(targets))
    assert set(watcher.seen["texts"][0]) < set(sentences)


def test_feeds_draw_from_the_other_texts_as_well(planned, monkeypatch):
    from leafkit.methods.feeds.curriculum import Curriculum

    watcher = Watcher(kept=tuple(range(98)))
    planned(Curriculum(every=3, initial=1.0), watcher, epochs=3)
    assert set(drawn(watcher)) == set(range(98, 196))


@pytest.mark.slow
def test_a_method_that_reserves_nothing_changes_no_bit(planned, distil, tmp_path):
    distil(epochs=2, learning_rate=1e-3, valid_every=2)
    planned(Watcher(every=3), epochs=2, learning_rate=1e-3, valid_every=2, out=tmp_path / "watched")
    assert result(tmp_path / "watched") == result(tmp_path / "student")


def test_a_method_is_told_its_own_reserved_labels_and_pairs_and_no_others(planned, tmp_path, sentences):
    path = tmp_path / "texts.jsonl"
    rows = [
        {"_id": str(i), "text": text, "role": ("query", "document")[i % 2], "label": "ab"[i // 2 % 2]}
        | ({"pair": str(i + 1)} if i % 2 == 0 else {})
        for i, text in enumerate(sentences)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    one, other = Watcher(kept=tuple(range(20))), Second(kept=tuple(range(10, 30)))
    planned(one, other, texts=path, epochs=1)
    first, second = one.seen["setting"][0], other.seen["setting"][0]
    assert (first.labels[:20] >= 0).all()
    assert (first.labels[20:30] == -1).all()
    assert (second.labels[:10] == -1).all()
    assert (second.labels[10:] >= 0).all()
    assert not numpy.isin(first.pairs, range(20, 30)).any()
    assert numpy.isin(first.pairs, range(20)).any()
    assert not numpy.isin(second.pairs, range(10)).any()
    assert min(drawn(one)) == 30
    assert other.seen["batch"][0].labels.tolist() == second.labels[10:14].tolist()


@pytest.mark.parametrize("bias", [True, False])
def test_a_method_is_told_whether_the_head_has_a_bias(bias, planned):
    watcher = Watcher()
    planned(watcher, head_bias=bias, epochs=0)
    assert [setting.head_bias for setting in watcher.seen["setting"]] == [bias]


def test_every_step_method_refreshes_at_its_own_steps_before_the_step(planned):
    often, seldom = Watcher(every=3), Second(every=5)
    planned(often, seldom, epochs=1)
    assert often.seen["refreshed"] == [0, 3, 6, 9, 12]
    assert seldom.seen["refreshed"] == [0, 5, 10]
    assert often.seen["state"] == [step // 3 * 3 for step in range(13)]


@pytest.mark.slow
def test_refreshes_of_a_resumed_training_are_those_of_an_uninterrupted_one(planned, tmp_path, monkeypatch):
    settings = {"epochs": 1, "learning_rate": 1e-3, "checkpoint_every": 1}
    planned(whole := Watcher(every=4), out=tmp_path / "whole", **settings)

    @contextlib.contextmanager
    def stop():
        steps = iter(range(100))
        yield lambda: next(steps) == 5

    stopped = Watcher(every=4)
    while not (tmp_path / "student").exists():
        with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
            patched.setattr("leafkit.training.loop.interruption", stop)
            planned(stopped, **settings)
    for name in ("refreshed", "state"):
        assert stopped.seen[name] == whole.seen[name]
    assert result(tmp_path / "student") == result(tmp_path / "whole")


def test_the_finished_head_is_exported_with_figures_of_its_own(planned, tmp_path, tiny_teacher, sentences):
    training = planned(Watcher(turns=True), epochs=1, valid_every=7).training
    validated = max(entry["cosine_mean"] for entry in training["history"])
    assert training["best"]["cosine_mean"] == pytest.approx(-validated)
    ours, theirs = (
        SentenceTransformer(str(path), device="cpu").encode_query(sentences)
        for path in (tmp_path / "student", tiny_teacher)
    )
    assert row_cosines(ours, theirs).mean() == pytest.approx(-validated, abs=0.05)


@pytest.mark.parametrize(("keep", "refreshes"), [("best", 2), ("last", 7)])
def test_a_method_finishes_with_its_state_of_the_kept_checkpoint(keep, refreshes, planned, monkeypatch):
    """The student is made to be best after step 3, when the method had refreshed before steps 0 and 2."""
    from leafkit.training import loop

    measured, cosines = loop.measure, iter([0.1, 0.9, *[0.2] * 9])
    monkeypatch.setattr(
        loop, "measure", lambda *sides: dataclasses.replace(measured(*sides), cosine_mean=next(cosines))
    )
    watcher = Watcher(every=2)
    planned(watcher, epochs=1, keep=keep, valid_every=3)
    assert watcher.seen["finished"] == [refreshes]


def test_a_budgeted_feed_spends_no_call_on_texts_that_another_method_reserved(planned):
    from leafkit.methods.feeds.pcoreset import Pcoreset

    watcher = Watcher(kept=tuple(range(98)))
    pcoreset = Pcoreset(every=2, first=20, picks=10, share=0.25, space="random")
    facts = planned(pcoreset, watcher, epochs=2, head="random")
    assert watcher.seen["setting"][0].drawn.tolist() == list(range(98, 196))
    assert len(set(drawn(watcher))) == facts.training["data"]["asked"] == 49


def test_texts_asked_after_the_best_step_count(planned, monkeypatch):
    from leafkit.methods.feeds.pcoreset import Pcoreset
    from leafkit.training import loop

    measured, cosines = loop.measure, iter([0.9, *[0.2] * 20])
    monkeypatch.setattr(
        loop, "measure", lambda *sides: dataclasses.replace(measured(*sides), cosine_mean=next(cosines))
    )
    pcoreset = Pcoreset(every=2, first=20, picks=10, share=0.25, space="random")
    facts = planned(pcoreset, epochs=2, head="random", keep="best", valid_every=3)
    assert facts.training["best"]["step"] == 0
    assert facts.training["data"]["asked"] == 49
