"""Measure the mechanism of one method with several seeds, compare it with its control, and cache each measurement."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy
import torch

from eval.mechanism.lab import Lab
from eval.method_code import hash_of_code, method_files
from leafkit.errors import OptionError, nearest
from leafkit.files.atomic import write_json
from leafkit.methods.registry import method_folders
from leafkit.vectors.store import default_cache

FOLDER = Path(__file__).parent
RESULTS = FOLDER.parent / "results" / "mechanism"
TEXTS = ("CLAIM", "PREMISE", "CONTROL", "FIGURE")

Verdict = Literal["shown", "refuted", "unresolved"]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The mean difference of method and control over the seeds, with its 95 % t-interval.

    ``smallest`` is the smallest effect that this many seeds find in four of five cases: 2.8 standard errors.
    """

    mean: float
    low: float
    high: float
    smallest: float

    @property
    def verdict(self) -> Verdict:
        """``shown`` if the interval lies above 0, ``refuted`` if it lies below 0, else ``unresolved``."""
        return "shown" if self.low > 0 else "refuted" if self.high < 0 else "unresolved"


def compare(method: Sequence[float], control: Sequence[float]) -> Compared:
    """Compare the figures of ``method`` and ``control`` seed by seed; raise `OptionError` for fewer than two seeds."""
    from scipy.stats import t

    if len(method) < 2:
        raise OptionError(f"got {len(method)} seed; expected 2 or more, for an interval.")
    differences = numpy.subtract(method, control)
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5
    mean, half = float(differences.mean()), float(t.ppf(0.975, len(differences) - 1)) * error
    return Compared(mean=mean, low=mean - half, high=mean + half, smallest=2.8 * error)


def names() -> list[str]:
    """Return the names of the methods that have a mechanism test, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem in method_folders())


def mechanism(name: str) -> ModuleType:
    """Return the module with the mechanism test of the method ``name``; raise `OptionError` if there is none."""
    if name not in names():
        raise OptionError(f"no mechanism test is called {name!r}; {nearest(name, names())}")
    return import_module(f"eval.mechanism.{name}")


def code_hash(name: str) -> str:
    """Return a hash of the code that decides the figures of ``name``: its test, its method and the laboratory."""
    laboratory = (FOLDER / f"{part}.py" for part in ("figures", "lab", "student", "texts", "training"))
    return hash_of_code([FOLDER / f"{name}.py", *method_files(name), *laboratory])


def measure(name: str, lab: Lab, seeds: Sequence[int], cache: Path | None = None) -> dict[str, Any]:
    """Return the figures of all arms of ``name`` for all ``seeds``, the comparison, and the seconds.

    A measurement with the same code is read from ``cache``, by default below the cache of teacher vectors.
    """
    module = mechanism(name)
    torch.set_num_threads(1)
    runs = [_measured(name, module.measure, lab, seed, cache or default_cache() / "mechanism") for seed in seeds]
    arms: dict[str, list[float]] = {arm: [run["figures"][arm] for run in runs] for arm in module.ARMS}
    method, control = module.ARMS[:2]
    compared = compare(arms[method], arms[control])
    return {
        "method": name,
        **{text.lower(): getattr(module, text) for text in TEXTS},
        "seeds": list(seeds),
        "arms": arms,
        "difference": vars(compared) | {"of": [method, control], "verdict": compared.verdict},
        "seconds": round(sum(run["seconds"] for run in runs), 1),
        "code": code_hash(name),
    }


def _measured(
    name: str, measured: Callable[[Lab, int], Mapping[str, float]], lab: Lab, seed: int, cache: Path
) -> dict[str, Any]:
    path = cache / "runs" / f"{name}-{seed}-{code_hash(name)}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        figures = {arm: float(figure) for arm, figure in measured(lab, seed).items()}
        write_json(path, {"figures": figures, "seconds": time.perf_counter() - started})
    return json.loads(path.read_text())
