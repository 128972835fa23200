"""What a training is made of: its systems, each in its place, refused where they cannot work together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leafkit.errors import OptionError
from leafkit.methods.objectives.leaf import Leaf
from leafkit.methods.registry import describe, folder_of, name_of, parse
from leafkit.methods.system import Feed, Method, Objective, Probe, System, Topology, Writer

Specs = Sequence[str | System]

# How a training comes by what a system needs; said where it is missing.
REMEDIES = {
    "labels": "texts with a label column",
    "domains": "texts of several sources: several files, or a source column",
    "layers": "a student with transformer layers",
    "online": "a teacher that encodes texts, not a file of vectors",
    "model": "a sentence-transformers model as teacher",
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The systems of one training. ``methods`` take part in its steps, by name and in order.

    ``topology`` is None where one student is trained once on the teacher's vectors.
    """

    methods: dict[str, Method]
    topology: Topology | None = None
    writer: Writer | None = None
    probes: dict[str, Probe]

    @property
    def systems(self) -> list[System]:
        """All systems, each once."""
        return [*self.methods.values(), *([self.writer] if self.writer else []), *self.probes.values()]

    @property
    def specs(self) -> list[str]:
        """What `make_plan` makes this plan of."""
        return [describe(system) for system in self.systems]

    @property
    def feeds(self) -> list[Feed]:
        """The methods that choose texts or change their view."""
        return [method for method in self.methods.values() if isinstance(method, Feed)]

    @property
    def plain(self) -> bool:
        """Whether this is one LEAF objective and nothing else."""
        (first, *others) = self.systems
        return isinstance(first, Leaf) and first.weight == 1 and not others

    @property
    def leaf_alone(self) -> bool:
        """Whether nothing but LEAF takes part in the steps, so that each text has its loss for itself."""
        return all(isinstance(method, Leaf) for method in self.methods.values())

    def needs(self, signal: str) -> bool:
        """Whether any system needs ``signal``."""
        return any(signal in system.needs for system in self.systems)

    def check(self, signals: frozenset[str]) -> None:
        """Raise `OptionError` naming the first system whose needs are not among ``signals``, and the remedy."""
        for system in self.systems:
            for missing in sorted(system.needs - signals):
                raise OptionError(
                    f"{name_of(system)} needs {missing}, which this training has not; "
                    f"give it {REMEDIES.get(missing, missing)}, or leave {name_of(system)} out"
                )

    def __str__(self) -> str:
        """One line a question: the plan as it will run."""
        weighed = [f"{method.weight:g} x {describe(method)}" for method in self.methods.values() if _weighs(method)]
        lines = {
            "loss": " + ".join(weighed),
            "texts": describe(self.writer) if self.writer else "all",
            "feed": " then ".join(describe(feed) for feed in self.feeds) or "every text once an epoch",
            "rounds": describe(self.topology) if self.topology else "one student, once",
            "watched by": ", ".join(describe(probe) for probe in self.probes.values()) or "validation alone",
        }
        return "\n".join(f"  {name:<11}{value}" for name, value in lines.items())


def make_plan(methods: Specs = (), feeds: Specs = ()) -> Plan:
    """The plan of ``methods`` (objectives, a topology, probes) and ``feeds`` (what chooses, changes or writes texts).

    Without an objective, LEAF is the one. Raises `OptionError` for systems that cannot work together, saying why.
    """
    given = [parse(spec) for spec in methods]
    fed = [parse(spec) for spec in feeds]
    for system in fed:
        if not isinstance(system, Feed | Writer):
            raise OptionError(f"{name_of(system)} of {folder_of(system)} feeds nothing; give it as a method")
    for system in given:
        if not isinstance(system, Method | Probe | Writer):
            raise OptionError(f"{name_of(system)} takes no part in training; give it as {folder_of(system)[:-1]}")
    if not any(isinstance(system, Objective) for system in given):
        given.insert(0, parse("leaf"))
    systems = [*given, *fed]
    _check_once(systems)
    _check_together([system for system in systems if isinstance(system, Method)])
    return Plan(
        methods={name_of(system): system for system in systems if isinstance(system, Method)},
        topology=next((system for system in systems if isinstance(system, Topology)), None),
        writer=next((system for system in systems if isinstance(system, Writer)), None),
        probes={name_of(system): system for system in systems if isinstance(system, Probe)},
    )


def _check_once(systems: list[System]) -> None:
    names = [name_of(system) for system in systems]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise OptionError(f"{twice} is given twice; once is enough")
    for kind, wanted in ((Topology, "rounds of trainings"), (Writer, "texts")):
        several = [name_of(system) for system in systems if isinstance(system, kind)]
        if len(several) > 1:
            raise OptionError(f"{' and '.join(several)} each decide on the {wanted}; choose one")


def _check_together(methods: list[Method]) -> None:
    for method in methods:
        if not 0 <= method.weight < float("inf"):
            raise OptionError(f"{name_of(method)}:weight is {method.weight:g}; wanted 0 or more")
    moving = [name_of(method) for method in methods if method.moves_target]
    if len(moving) > 1:
        raise OptionError(f"{' and '.join(moving)} each move the target in time; choose one")
    for splicing in (method for method in methods if method.splices):
        for remembering in (method for method in methods if method.remembers):
            raise OptionError(
                f"{name_of(remembering)} remembers each text, and {name_of(splicing)} makes others of them; choose one"
            )
    objectives = [method for method in methods if isinstance(method, Objective) and method.weight > 0]
    if not objectives:
        raise OptionError("every objective has weight 0, so there is nothing to learn; give one a weight")
    if all(method.blind for method in objectives):
        raise OptionError(
            f"{name_of(objectives[0])} does not know which text is which, so that it cannot train alone; add leaf"
        )


def _weighs(method: Method) -> bool:
    return method.weight > 0 and type(method).terms is not Method.terms
