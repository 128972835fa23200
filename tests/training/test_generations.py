"""Topologies that train several generations, and the checks of a plan before training."""

import dataclasses
import json
from types import SimpleNamespace

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.methods.method import Objective, Topology
from leafkit.training import distill as home


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaning(Topology):
    """A topology of two generations. The targets of the second are all shifted in one direction."""

    seen: list = dataclasses.field(default_factory=list)

    def run(self, training):
        rows = numpy.arange(training.setting.texts)
        truth = training.setting.targets(rows)
        training.fit("first")
        first = training.student("first", rows)
        lean = truth + numpy.eye(truth.shape[1], dtype=numpy.float32)[0]
        lean /= numpy.linalg.norm(lean, axis=1, keepdims=True)
        training.fit("second", targets=lean)
        self.seen.append((lean, first, training.student("second", rows)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peeking(Objective):
    """An objective that asks for a held-out text."""

    def build(self, setting):
        setting.targets(numpy.array([setting.texts]))


def test_a_later_generation_learns_what_the_topology_gives_it(planned, tmp_path):
    topology = Leaning()
    planned(topology, epochs=6, learning_rate=1e-3, head="random")
    lean, first, second = topology.seen[0]
    assert numpy.linalg.norm(second - lean, axis=1).mean() < 0.7 * numpy.linalg.norm(first - lean, axis=1).mean()
    history = json.loads((tmp_path / "student" / "leafkit.json").read_text())["training"]["history"]
    assert history[0]["step"] == 0


def test_a_method_that_asks_for_held_out_texts_raises(planned):
    with pytest.raises(IndexError, match="outside the 196 training texts"):
        planned(Peeking())


def test_a_student_is_either_named_or_searched_for(distil):
    with pytest.raises(OptionError, match="no student"):
        distil(student=None)
    with pytest.raises(OptionError, match="only an architecture search uses a budget"):
        distil(budget="1M params")
    with pytest.raises(OptionError, match="leaf is an objective, which `architecture`"):
        distil(student=None, architecture="leaf", budget="1M params")


def test_objective_and_methods_exclude_each_other(distil):
    with pytest.raises(OptionError, match="leaf:distance=squared"):
        distil(objective="squared", methods=["leaf"])


def test_other_methods_than_leaf_raise_at_once_with_several_processes(distil, monkeypatch):
    several = SimpleNamespace(num_processes=2, is_main_process=True, device="cpu")
    monkeypatch.setattr(home, "start_accelerator", lambda: several)
    with pytest.raises(OptionError, match="leaf, sinkd can train in one process only"):
        distil(methods=["leaf", "sinkd"])


def test_a_method_that_needs_layers_raises_for_a_token_table(distil):
    with pytest.raises(OptionError, match="ofa needs layers"):
        distil(student="static:dim=8", methods=["leaf", "ofa"])
