"""The table of the screen, systems.toml: what is trained for each method, and what it is compared with.

Each table of the file is a `System`, and its name is that of the method unless ``method`` says otherwise.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from eval.screen.figures import MAIN
from leafkit.errors import OptionError, nearest
from leafkit.methods.registry import method_class, method_folders

TABLE = Path(__file__).with_name("systems.toml")
LEAF, PULL = "leaf", "pull"
PULLS = (0.03, 0.1, 0.3, 1.0, 3.0)
TEXTS = ("plain", "labels", "pairs")
SITUATIONS = (
    "few texts",
    "labels at hand",
    "pairs at hand",
    "several sources",
    "noisy or quantised targets",
    "few teacher calls",
    "two teachers",
    "tiny student",
    "privacy",
)
STUDENTS = {
    "picked": {"student": "teacher:layers=0,9,10,pooling=mean", "learning_rate": 3e-4},
    "table": {"student": "static:dim=384", "learning_rate": 1e-3},
    "searched": {"student": None, "budget": "2M params", "learning_rate": 1e-3},
}
"""The kinds of students: three transformer layers of the teacher with mean pooling, a token table, and a transformer
with random weights whose shape is found by an architecture search."""

DOSES_FROM = {"picked": "table"}
"""The kind of student whose chosen doses another kind can take, because its own runs are dear."""


@dataclass(frozen=True, kw_only=True)
class System:
    """One row of the screen: a method, a baseline or a control arm.

    ``method`` is the method beside LEAF (the name of the row by default, empty for LEAF alone), with the values
    ``fixed`` of its fields; ``picked`` and ``table`` are further values for one kind of student.
    ``students`` are the kinds of students that the row is measured with.
    ``dose`` is the field that ``doses`` are values of, or ``pull`` for the weight by pull; without ``doses`` there is
    nothing to choose. ``dose_of`` names another system whose chosen dose this one takes.
    With ``alone``, the method trains without LEAF beside it. ``texts`` is the text set. ``recipe`` are other options of
    `leafkit.distill`; with ``epochs_times_dose`` the epochs are that number over the dose, so that all doses take as
    many steps. ``figure`` decides the verdict and the dose. ``baselines`` are the systems to compare with; the verdict
    compares with the first, and a row without any is only what others are compared with. ``situations`` are those of
    ``docs/which-method.md`` that the row speaks about.
    """

    name: str
    method: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    picked: Mapping[str, Any] = field(default_factory=dict)
    table: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False
    texts: str = "plain"
    dose: str = PULL
    doses: tuple[float, ...] = PULLS
    dose_of: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    epochs_times_dose: float = 0.0
    figure: str = MAIN
    baselines: tuple[str, ...] = (LEAF,)
    situations: tuple[str, ...] = ()
    students: tuple[str, ...] = ("picked", "table")
    title: str = ""

    @property
    def has_dose(self) -> bool:
        """Whether there are doses to choose from."""
        return bool(self.method) and bool(self.doses) and not self.dose_of

    @property
    def is_method(self) -> bool:
        """Whether this is the row of a method, not a baseline or control arm."""
        return self.name == self.method

    def values(self, student: str) -> dict[str, Any]:
        """Return the fixed fields of the method for students of the kind ``student``."""
        return {**self.fixed, **(self.picked if student == "picked" else self.table)}


def read_systems(path: Path = TABLE) -> dict[str, System]:
    """Return the systems of the table by name; raise `OptionError` naming the system for a bad value."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    systems = {name: _system(name, values) for name, values in raw.items()}
    for system in systems.values():
        for other in (*system.baselines, *([system.dose_of] if system.dose_of else [])):
            _check(system.name, other, systems, "system")
    return systems


def missing_systems(systems: Mapping[str, System]) -> list[str]:
    """Return the methods that change a training and have no row in ``systems``."""
    return [name for name, folder in method_folders().items() if folder != "probes" and name not in systems]


def _system(name: str, values: dict[str, Any]) -> System:
    known = {one.name for one in fields(System)} - {"name"}
    for key in values:
        _check(name, key, known, "field")
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    system = System(**{"name": name, "method": name, **given})
    if system.method:
        _check(name, system.method, method_folders(), "method")
        names = {one.name for one in fields(method_class(system.method))}
        dose = [] if not system.doses else ["weight" if system.dose == PULL else system.dose]
        for key in [*system.fixed, *system.picked, *system.table, *dose]:
            _check(name, key, names, "field of the method")
    _check(name, system.texts, TEXTS, "text set")
    for student in system.students:
        _check(name, student, STUDENTS, "kind of student")
    for situation in system.situations:
        _check(name, situation, SITUATIONS, "situation")
    return system


def _check(system: str, value: str, known: Sequence[str] | Mapping[str, Any] | set[str], what: str) -> None:
    if value not in known:
        raise OptionError(f"{TABLE.name}, {system}: there is no {what} {value!r}; {nearest(value, list(known))}")
