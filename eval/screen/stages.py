"""The runs that the screen needs, in order: doses on two seeds, then five seeds at the best dose, then LEAF's curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy

from eval.screen.benchmark import DEV
from eval.screen.figures import Figure, figures_of
from eval.screen.log import LOG
from eval.screen.pull import weight_of
from eval.screen.study import Arm, ScreenStudy, make_arm
from eval.screen.systems import DOSES_FROM, LEAF, PULL, System
from leafkit.errors import LeafkitError
from leafkit.evaluation.compare.statistics import figures
from leafkit.evaluation.compare.study import Run
from leafkit.evaluation.metrics import Float64

SEEDS = (0, 1, 2, 3, 4)
EPOCHS = 10
"""The epochs of a text set that has no larger one, in the tier of more steps."""
CURVE = (3000, 6000, 12_000, 24_000)
"""The numbers of texts of LEAF's own curve."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How a dose is searched for: the places of its values among those of the system, and the seeds of each value."""

    places: slice
    seeds: tuple[int, ...]


FULL = Search(places=slice(None), seeds=(0, 1))
QUICK = Search(places=slice(1, 4), seeds=(0,))
"""A first look at the three middle values, all of whose runs the full search uses again."""


@dataclass(frozen=True, kw_only=True)
class DosePoint:
    """One dose of a curve: its arm and the runs of the seeds that the dose is chosen on."""

    arm: Arm
    runs: list[Run]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One system for one kind of student: the curve over doses, and the runs of all seeds at the chosen dose."""

    system: System
    arm: Arm
    runs: list[Run]
    curve: Sequence[DosePoint] = ()


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The systems in a study. With ``makes``, missing runs are made; otherwise only finished ones are found.

    The dose of a system is that of the first of ``searches`` whose runs are all there, or else the dose that was chosen
    for the kind of student in `DOSES_FROM`. ``larger`` names a text set that takes the place of the plain one, for the
    tier of more steps, which takes the doses of the screen.
    """

    study: ScreenStudy
    systems: Mapping[str, System]
    makes: bool
    searches: Sequence[Search] = (FULL, QUICK)
    larger: str = ""

    def runs(self, arm: Arm, seeds: Sequence[int]) -> list[Run] | None:
        """Return the runs of ``arm``; None if one is missing and no runs are made."""
        return self.study.measure([arm], seeds)[arm.name] if self.makes else self.study.found(arm, seeds)

    def cell(self, name: str, student: str, texts: str | None = None) -> Cell | None:
        """Return the cell of a system on its own text set or on ``texts``; None if a run of it is missing."""
        system = self.systems[name]
        of_screen = texts or system.texts
        texts = self.set_of(of_screen)
        owner = self.systems[system.dose_of or name]
        curve = None if self.larger else self.curve(owner.name, student, texts)
        points = self._borrowed(owner, student, of_screen) if curve is None else curve
        if points is None:
            return None
        dose = best(points, self.figure(owner.figure)).arm.dose if points else None
        arm = self._arm(system, student, texts, dose)
        runs = None if arm is None else self.runs(arm, SEEDS)
        if arm is None or runs is None:
            return None
        return Cell(system=system, arm=arm, runs=runs, curve=(curve or ()) if owner is system else ())

    def _borrowed(self, system: System, student: str, texts: str) -> list[DosePoint] | None:
        """Return the finished curve of another cell over the doses of ``system``; None if there is none.

        It is that of the screen in the tier of more steps, or that of the kind of student in `DOSES_FROM`.
        """
        finished = replace(self, makes=False, searches=(FULL, QUICK), larger="")
        kinds = [student] if self.larger else []
        kinds += [kind for kind in [DOSES_FROM.get(student)] if kind in system.students]
        curves = (finished.curve(system.name, kind, texts) for kind in kinds)
        return next((curve for curve in curves if curve is not None), None)

    def set_of(self, texts: str) -> str:
        """Return the text set that takes the place of ``texts`` in this tier of the screen."""
        return self.larger if texts == "plain" and self.larger else texts

    def curve(self, name: str, student: str, texts: str) -> list[DosePoint] | None:
        """Return a point for each dose, none for a system without doses; None if a run of it is missing."""
        curves = (self._searched(self.systems[name], student, texts, search) for search in self.searches)
        return next((curve for curve in curves if curve is not None), None)

    def _searched(self, system: System, student: str, texts: str, search: Search) -> list[DosePoint] | None:
        points = []
        for dose in system.doses[search.places] if system.has_dose else ():
            arm = self._arm(system, student, texts, dose)
            runs = None if arm is None else self.runs(arm, search.seeds)
            if arm is None or runs is None:
                return None
            points.append(DosePoint(arm=arm, runs=runs))
        return points

    def _arm(self, system: System, student: str, texts: str, dose: float | None) -> Arm | None:
        """Return the arm of ``system`` at ``dose``; None if its weight is not known and nothing is made."""
        weight = None
        if system.dose == PULL and dose is not None:
            weight = weight_of(self.study, system, student, texts, dose, measures=self.makes)
            if weight is None:
                return None
        arm = make_arm(system, student, texts=texts, dose=dose, weight=weight)
        if self.larger and texts != self.larger:
            # There are no more texts of these sets, so the tier of more steps repeats them.
            arm = replace(arm, options={**arm.options, "epochs": EPOCHS * arm.options.get("epochs", 1)})
        return arm

    def figure(self, name: str, split: str = DEV) -> Figure:
        """Return the figure ``name`` of ``split``."""
        return next(one for one in figures_of(self.study.benchmark, split) if one.name == name)

    def texts_curve(self, student: str) -> dict[int, list[Run]]:
        """Return LEAF's runs by number of texts; numbers whose runs are missing are left out."""
        found = {}
        for texts in CURVE:
            runs = self.runs(make_arm(self.systems[LEAF], student, texts=curve_set(texts)), SEEDS)
            if runs is not None:
                found[texts] = runs
        return found


def curve_set(texts: int) -> str:
    """Return the name of the text set with ``texts`` plain texts."""
    return "plain" if texts == 6000 else f"plain-{texts}"


def run_system(screen: Screen, name: str, student: str, *, doses_only: bool = False) -> bool:
    """Make all runs of one system and of what it is compared with; log an error of leafkit and return False."""
    system = screen.systems[name]
    try:
        if doses_only:
            screen.curve(name, student, screen.set_of(system.texts))
            return True
        for one in [name] if name == LEAF else [*system.baselines, name]:
            screen.cell(one, student, system.texts)
    except LeafkitError as error:
        LOG.warning("%s, %s: skipped: %s", name, student, error)
        return False
    except Exception:
        # A mistake in one method must not end a night of measuring the others.
        LOG.exception("%s, %s: skipped", name, student)
        return False
    return True


def best(points: Sequence[DosePoint], figure: Figure) -> DosePoint:
    """Return the dose with the best mean of ``figure`` over its runs; of equal ones, the first."""
    sign = 1 if figure.larger_is_better else -1
    return max(points, key=lambda point: sign * mean_figure(point.runs, figure, DEV))


def mean_figure(runs: Sequence[Run], figure: Figure, split: str) -> float:
    """Return the mean of ``figure`` over ``runs``; minus infinity if one of them collapsed."""
    if any("failed" in run for run in runs):
        return -numpy.inf if figure.larger_is_better else numpy.inf
    return float(seed_figures(runs, figure, split).mean())


def seed_figures(runs: Sequence[Run], figure: Figure, split: str) -> Float64:
    """Return ``figure`` for each of ``runs``, (runs,)."""
    return numpy.mean([figures(scores_of(runs, part, split), figure.statistic) for part in figure.parts], axis=0)


def scores_of(runs: Sequence[Run], part: str, split: str) -> Float64:
    """Return the scores of one part of a figure, (runs, items)."""
    return numpy.array([run["scores"][part][split] for run in runs], dtype=numpy.float64)
