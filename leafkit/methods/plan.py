"""The plan of a training: which methods take part, and a check that they work together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy

from leafkit.errors import OptionError
from leafkit.methods.method import Feed, Method, Objective, Probe, StepMethod, Topology, Writer
from leafkit.methods.objectives.leaf import Leaf
from leafkit.methods.registry import check_option, method_name, method_spec, parse_method
from leafkit.methods.setting import Facts
from leafkit.types import Int64

MethodSpecs = Sequence[str | Method]

_LIVE = "a local sentence-transformers teacher and a transformer student with the same tokenizer"
# How to provide each signal that a method may need; shown in the error for a missing signal.
REMEDIES = {
    "labels": "texts with a `label` column",
    "pairs": "queries with a `pair` column that names their documents",
    "domains": "texts from several sources (several files, or a `source` column)",
    "layers": "a student with transformer layers",
    "states": "a student with transformer layers",
    "tokens": _LIVE,
    "live": _LIVE,
    "online": "a teacher that encodes texts, not a file of vectors",
    "model": "a sentence-transformers model as teacher",
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The methods of one training.

    ``step_methods`` are the objectives and feeds by name, in the order in which they take part in a step.
    ``topology`` is None if one student is trained once. ``writer`` is None if all texts are used as they were read.
    ``probes`` are observed at each validation, by name.
    """

    step_methods: dict[str, StepMethod]
    topology: Topology | None = None
    writer: Writer | None = None
    probes: dict[str, Probe]

    @property
    def methods(self) -> list[Method]:
        """All methods of the plan, each once, also a writer that decides the rounds as well."""
        # Compared and not hashed: a method may have fields that are lists.
        writer = None if self.writer == self.topology else self.writer
        single: list[Method] = [method for method in (self.topology, writer) if method is not None]
        return [*self.step_methods.values(), *single, *self.probes.values()]

    @property
    def specs(self) -> list[str]:
        """The specs (``name:field=value``) of all methods."""
        return [method_spec(method) for method in self.methods]

    @property
    def feeds(self) -> list[Feed]:
        """The methods that choose texts or change their view."""
        return [method for method in self.step_methods.values() if isinstance(method, Feed)]

    def start_rows(self, texts: int, seed: int) -> Int64 | None:
        """Return the training rows whose vectors a ridge start may use, ascending; None for all ``texts``."""
        limits = [rows for feed in self.feeds if (rows := feed.start_rows(texts, seed)) is not None]
        return reduce(numpy.intersect1d, limits) if limits else None

    @property
    def is_plain_leaf(self) -> bool:
        """Whether the plan is one LEAF objective of weight 1 and nothing else."""
        (first, *others) = self.methods
        return isinstance(first, Leaf) and first.weight == 1 and not others

    @property
    def leaf_alone(self) -> bool:
        """Whether LEAF is the only method in the steps, so that each text's loss is independent of its batch."""
        return all(isinstance(method, Leaf) for method in self.step_methods.values())

    def needs(self, signal: str) -> bool:
        """Return whether any method needs ``signal``."""
        return any(signal in method.needs for method in self.methods)

    def check_needs(self, signals: frozenset[str]) -> None:
        """Raise `OptionError` for the first method that needs a signal which is not among ``signals``."""
        for method in self.methods:
            for missing in sorted(method.needs - signals):
                name, remedy = method_name(method), REMEDIES.get(missing, missing)
                raise OptionError(
                    f"{name} needs {missing}, but this training has none. Provide {remedy} or remove {name}."
                )

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if a method cannot work with a training of these sizes."""
        for method in self.methods:
            method.check(facts)

    def __str__(self) -> str:
        """One line for each part of the plan."""
        losses = [
            f"{method.weight:g} x {method_spec(method)}" for method in self.step_methods.values() if _adds(method)
        ]
        lines = {
            "loss": " + ".join(losses),
            "texts": method_spec(self.writer) if self.writer else "all",
            "feed": " then ".join(method_spec(feed) for feed in self.feeds) or "every text once an epoch",
            "rounds": method_spec(self.topology) if self.topology else "one student, once",
            "probes": ", ".join(method_spec(probe) for probe in self.probes.values()) or "none",
        }
        return "\n".join(f"  {name:<8}{value}" for name, value in lines.items())


def make_plan(methods: MethodSpecs = (), feeds: MethodSpecs = (), writers: MethodSpecs = ()) -> Plan:
    """Make the plan of a training from method specs or method objects.

    ``methods`` are objectives, at most one topology, and probes; ``feeds`` choose texts or change their view;
    ``writers`` make or choose the training texts (at most one). LEAF is added if no objective is given.

    Raises `OptionError` for a method under the wrong argument, and for methods that cannot work together.
    """
    chosen: list[Method] = []
    for option, specs in (("methods", methods), ("feeds", feeds), ("writers", writers)):
        for method in map(parse_method, specs):
            check_option(method, option)
            chosen.append(method)
    if not any(isinstance(method, Objective) for method in chosen):
        chosen.insert(0, Leaf())
    _check_once(chosen)
    steps = {method_name(method): method for method in chosen if isinstance(method, StepMethod)}
    _check_together(list(steps.values()))
    return Plan(
        step_methods=steps,
        topology=next((method for method in chosen if isinstance(method, Topology)), None),
        writer=next((method for method in chosen if isinstance(method, Writer)), None),
        probes={method_name(method): method for method in chosen if isinstance(method, Probe)},
    )


def _check_once(methods: list[Method]) -> None:
    """Raise `OptionError` for a method that is given twice, or for two topologies or writers."""
    names = [method_name(method) for method in methods]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise OptionError(f"{twice} is given twice. Remove one of the two.")
    for kind, decision in ((Topology, "the rounds of training"), (Writer, "the training texts")):
        several = [method_name(method) for method in methods if isinstance(method, kind)]
        if len(several) > 1:
            raise OptionError(f"{' and '.join(several)} both decide {decision}. Choose one of them.")


def _check_together(methods: list[StepMethod]) -> None:
    """Raise `OptionError` for objectives and feeds that cannot share a step."""
    for method in methods:
        if not 0 <= method.weight < float("inf"):
            raise OptionError(f"{method_name(method)}:weight is {method.weight:g}; expected 0 or more")
    moving = [method_name(method) for method in methods if method.moves_target]
    if len(moving) > 1:
        raise OptionError(f"{' and '.join(moving)} both move the target during training. Choose one of them.")
    _check_mixing(methods)
    objectives = [method for method in methods if isinstance(method, Objective) and method.weight > 0]
    if not objectives:
        raise OptionError("every objective has weight 0, so there is nothing to learn. Raise the weight of one.")
    if all(method.cannot_train_alone for method in objectives):
        raise OptionError(
            f"{method_name(objectives[0])} cannot train alone, because its loss ignores which vector belongs to which "
            "text. Add leaf."
        )


def _check_mixing(methods: list[StepMethod]) -> None:
    """Raise `OptionError` if one method mixes texts while another stores facts about each text."""
    for mixing in (method for method in methods if method.mixes_texts):
        for remembering in (method for method in methods if method.remembers_texts):
            raise OptionError(
                f"{method_name(remembering)} stores what it knows of each text, but {method_name(mixing)} mixes texts "
                "into new ones. Choose one of them."
            )


def _adds(method: StepMethod) -> bool:
    """Return whether ``method`` adds a loss."""
    return method.weight > 0 and type(method).terms is not StepMethod.terms
