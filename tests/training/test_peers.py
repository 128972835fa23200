"""Peer students: their start, their training beside the student, and the peers that are refused."""

from dataclasses import dataclass

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.method import Objective
from leafkit.methods.registry import method_spec, parse_method
from leafkit.training.distill import distill
from leafkit.training.loop import Loop
from tests.conftest import make_model
from tests.training.test_live_training import trained


@dataclass(frozen=True, kw_only=True)
class Pair(Objective):
    """Train the peer to write the teacher's vectors, and the student to write the peer's."""

    peer: str = "teacher:layers=1"

    @property
    def peers(self):
        return (self.peer,)

    def build(self, setting):
        state = torch.nn.Module()
        state.peer = setting.open(self.peer)
        return state

    def terms(self, batch, state):
        peer = state.peer(dict(batch.features)).student
        return {
            "peer": (peer - batch.teacher).norm(dim=-1),
            "student": (batch.student - peer.detach()).norm(dim=-1),
        }


@pytest.fixture
def fit(texts_file, tiny_teacher, tmp_path):
    """Train one epoch with a peer and return the weights and the curve of the student."""

    def run(name, peer, **settings):
        settings = {
            "student": "teacher:layers=2",
            "learning_rate": 1e-3,
            "batch_size": 16,
            "compute": "float32",
        } | settings
        options = {"precision": "float32", "export": False, "valid_every": 50, "cache": tmp_path / "cache"}
        distill(texts_file, str(tiny_teacher), out=tmp_path / name, methods=[Pair(peer=peer)], **options | settings)
        return trained(tmp_path / name)

    return run


def distance(peer, loop):
    """The mean distance of the peer's vectors from the teacher's, over the training texts."""
    rows = loop.data.train_rows
    return float(numpy.linalg.norm(peer.encode(loop.data.tokens, rows) - loop.data.targets(rows), axis=1).mean())


@pytest.fixture
def watched(monkeypatch):
    """The loop of the last training, and the distances of its peer before each step."""
    seen, step = {"distances": []}, Loop._step

    def watch(loop, rows):
        seen["loop"], seen["peer"] = loop, loop.methods.modules.methods[0].peer
        if loop.state.step in (0, 12):
            seen["distances"].append(distance(seen["peer"], loop))
        step(loop, rows)

    monkeypatch.setattr(Loop, "_step", watch)
    return seen


def test_a_peer_learns_with_parameters_of_its_own(fit, watched):
    fit("pair", "teacher:layers=2", head="random")
    before, after = watched["distances"]
    assert after < 0.9 * before
    peer, loop = watched["peer"], watched["loop"]
    outputs = peer(loop.data.tokens.features(loop.data.train_rows[:4]))
    assert outputs.student.shape == outputs.hidden.shape == (4, 32)
    student = {id(parameter) for parameter in loop.forward.parameters()}
    assert not any(id(parameter) in student for parameter in peer.parameters())


def test_a_resumed_training_with_a_peer_equals_an_uninterrupted_one(fit, watched, monkeypatch):
    whole, step = fit("whole", "teacher:layers=1"), Loop._step
    assert watched["distances"][0] < 1.2 * watched["loop"].state.history[0]["distance"]  # the ridge starts of both

    def stop(loop, rows):
        if loop.state.step == 7:
            raise KeyboardInterrupt
        step(loop, rows)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Loop, "_step", stop)
        fit("stopped", "teacher:layers=1", checkpoint_every=4)
    assert fit("stopped", "teacher:layers=1", checkpoint_every=4) == whole


@pytest.mark.parametrize(
    ("peer", "student", "message"),
    [
        ("teacher:layer=1", "teacher:layers=2", r"unknown student 'teacher:layer=1': teacher has no option layer"),
        ("teacher:layers=9", "teacher:layers=2", r"layers is 9; expected 1 to 4"),
        ("static:dim=8", "teacher:layers=2", r"the peer static:dim=8 cannot .* because the peer is a token table"),
        (
            "teacher:layers=1",
            "static:dim=8",
            r"the peer teacher:layers=1 cannot .* because the student is a token table",
        ),
    ],
)
def test_a_peer_that_cannot_train_beside_the_student_is_refused_and_leaves_nothing(
    fit, peer, student, message, tmp_path
):
    with pytest.raises(OptionError, match=message):
        fit("refused", peer, student=student)
    assert not list(tmp_path.iterdir())


def test_a_peer_with_another_vocabulary_is_refused(fit, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.conftest.WORDS", ["other", "words"])
    other = make_model(tmp_path / "other", width=16, layers=1, seed=1)
    with pytest.raises(
        OptionError, match=r"the peer has the id .* for the token '!', and the student .* same tokenizer"
    ):
        fit("refused", str(other))


def test_the_name_of_a_peer_can_have_commas_in_a_method():
    method = parse_method("bdkd:peer=(teacher:layers=0,2,pooling=mean),count=8")
    assert (method.peer, method.count) == ("teacher:layers=0,2,pooling=mean", 8)
    assert method_spec(method) == "bdkd:peer=(teacher:layers=0,2,pooling=mean),count=8"
    assert parse_method("bdkd:peer=teacher:layers=3").peers == ("teacher:layers=3",)
