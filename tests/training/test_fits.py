"""Fits: trainings with names that a topology drives; each can start from, and ask, the students of earlier ones."""

import contextlib
import dataclasses
import json

import numpy
import pytest

from leafkit.errors import DamageError, OptionError
from leafkit.methods.method import Objective, Topology
from leafkit.methods.topologies.knfu import Knfu
from leafkit.training import stages
from leafkit.training.companions import Companions
from leafkit.training.loop import Loop
from tests.training.test_step_methods import result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rounds(Topology):
    """Two clients on halves of the texts, and a student that continues the first with the mean of their vectors."""

    script: object = None
    seen: dict = dataclasses.field(default_factory=dict)

    def run(self, training):
        if self.script:
            self.script(training)
            return
        everything = numpy.arange(training.setting.texts)
        clients = ("client-0", "client-1")
        for part, name in enumerate(clients):
            training.fit(name, rows=everything[part::2])
            self.seen[name] = training.student(name, everything)
        again = [training.student(name, everything) for name in clients]
        assert all(numpy.array_equal(now, self.seen[name]) for now, name in zip(again, clients))
        training.fit("server", targets=numpy.mean(again, axis=0), start="client-0")
        self.seen["server"] = training.student("server", everything)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn(Objective):
    """An objective without a loss that records the rows of each step, and the sizes of each training."""

    rows: list = dataclasses.field(default_factory=list)
    sizes: list = dataclasses.field(default_factory=list)

    def build(self, setting):
        self.sizes.append((setting.texts, setting.steps))
        self.rows.append([])
        return super().build(setting)

    def terms(self, batch, state):
        self.rows[-1].extend(batch.rows.tolist())
        return {}


SETTINGS = {"epochs": 1, "learning_rate": 1e-3, "valid_every": 100}


def test_a_fit_draws_only_its_rows(planned):
    drawn = Drawn()
    facts = planned(Rounds(), drawn, **SETTINGS)
    assert sorted(drawn.rows[0]) == list(range(0, 196, 2))
    assert sorted(drawn.rows[1]) == list(range(1, 196, 2))
    assert sorted(drawn.rows[2]) == list(range(196))
    assert drawn.sizes == [(196, 7), (196, 7), (196, 13)]
    assert (facts.training["generations"], facts.training["steps"]) == (3, 13)


@pytest.mark.slow
def test_a_fit_starts_where_an_earlier_one_ended(planned, tmp_path):
    planned(Rounds(), **SETTINGS)
    chained = json.loads((tmp_path / "student" / "leafkit.json").read_text())["training"]["start"]
    planned(Rounds(script=lambda training: training.fit("client-0", rows=numpy.arange(0, 196, 2))), **SETTINGS | {
        "out": tmp_path / "client"
    })  # fmt: skip
    ended = json.loads((tmp_path / "client" / "leafkit.json").read_text())["training"]["best"]
    for name in ("cosine_mean", "distance", "spread"):
        assert chained[name] == pytest.approx(ended[name], abs=1e-6)


@pytest.mark.slow
def test_stopped_after_every_fit_the_run_ends_with_the_same_bits_and_trains_none_again(planned, tmp_path, monkeypatch):
    whole, stopped, trained = Rounds(), Rounds(), []
    planned(whole, out=tmp_path / "whole", **SETTINGS)
    train, finish = Loop.train, stages.finish

    def train_one(loop):
        """Stop instead of training if this call of `distill` has already trained a student."""
        if trained[-1:] != [None]:
            raise KeyboardInterrupt
        trained[-1] = loop.checkpoints.folder.name
        return train(loop)

    def finish_alone(*parts):
        if trained[-1] is not None:
            raise KeyboardInterrupt
        return finish(*parts)

    monkeypatch.setattr(Loop, "train", train_one)
    monkeypatch.setattr(stages, "finish", finish_alone)
    while not (tmp_path / "student").exists():
        trained.append(None)
        with contextlib.suppress(KeyboardInterrupt):
            planned(stopped, **SETTINGS)
    assert trained == ["fit-client-0", "fit-client-1", "fit-server", None]
    assert result(tmp_path / "student") == result(tmp_path / "whole")
    assert whole.seen.keys() == stopped.seen.keys()
    assert all(numpy.array_equal(stopped.seen[name], vectors) for name, vectors in whole.seen.items())
    assert not (tmp_path / ".student.run").exists()


def test_a_finished_student_that_was_changed_raises(planned, tmp_path, monkeypatch):
    monkeypatch.setattr("leafkit.training.stages.finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        planned(Rounds(), epochs=0)
    fit = tmp_path / ".student.run" / "fit-client-1"
    assert [path.name for path in fit.iterdir()] == ["student"]
    (fit / "student" / "student.safetensors").write_bytes(b"other")
    with pytest.raises(DamageError, match=r"Delete .*fit-client-1 to train this student again"):
        planned(Rounds(), epochs=0)


WRONG = {
    "expected letters, digits and '-'": lambda training: training.fit("a b"),
    "there is no fit 'one' yet; there are none": lambda training: training.fit("two", start="one"),
    "there is no fit 'three' yet": lambda training: training.student("three", numpy.arange(3)),
    "the fit one has no text to train on": lambda training: training.fit("one", rows=numpy.arange(0)),
    r"the targets of one have the shape \(3, 32\)": lambda training: training.fit("one", targets=numpy.zeros((3, 32))),
    "outside the 196 training texts": lambda training: training.fit("one", rows=numpy.array([196])),
}


def test_a_topology_that_calls_its_fits_wrongly_raises(planned):
    def script(training):
        for message, call in WRONG.items():
            with pytest.raises((ValueError, IndexError), match=message):
                call(training)
        training.fit("one")
        with pytest.raises(ValueError, match="a name only once"):
            training.fit("one")

    planned(Rounds(script=script), epochs=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unlike(Rounds):
    """A fit of a peer with one layer, one that continues it, and the student of the run."""

    @property
    def peers(self):
        return ("teacher:layers=1",)

    def run(self, training):
        if self.script:
            self.script(training)
            return
        everything = numpy.arange(training.setting.texts)
        training.fit("small", peer="teacher:layers=1")
        training.fit("again", start="small")
        training.fit("own", targets=training.student("small", everything))
        for name in ("small", "again", "own"):
            self.seen[name] = training.student(name, everything)


def test_a_peer_is_trained_continued_and_asked_beside_the_student_of_the_run(planned, monkeypatch):
    method, opened, kinds = Unlike(), [], []
    train, open_peer = Loop.train, Companions.open_peer
    monkeypatch.setattr(Companions, "open_peer", lambda *parts: opened.append(parts[1]) or open_peer(*parts))
    monkeypatch.setattr(Loop, "train", lambda loop: kinds.append(loop.forward.student.depth) or train(loop))
    facts = planned(method, keep="last", **SETTINGS)
    assert kinds == [1, 1, 2]
    assert opened == ["teacher:layers=1"]
    assert facts.training["generations"] == 3
    small, again, own = method.seen.values()
    assert numpy.abs(small - again).max() > 0.001
    assert numpy.linalg.norm(own - small, axis=1).mean() < 0.9 * numpy.linalg.norm(own + small, axis=1).mean()


def test_a_peer_cannot_be_the_result_and_starts_only_from_itself(planned):
    def script(training):
        training.fit("own")
        with pytest.raises(ValueError, match="the fit own trained no peer, so teacher:layers=1 cannot start there"):
            training.fit("small", start="own", peer="teacher:layers=1")
        training.fit("small", peer="teacher:layers=1")

    with pytest.raises(ValueError, match="the last fit, small, trains teacher:layers=1; expected the student of the"):
        planned(Unlike(script=script), epochs=0)


def test_a_topology_with_a_peer_that_cannot_be_built_is_refused_before_training(planned):
    with pytest.raises(OptionError, match="layers is 9; expected 1 to"):
        planned(dataclasses.replace(Knfu(), peer="teacher:layers=9"), epochs=0)
