"""Teacher hacking: whether a student that still nears its teacher leaves what the teacher stands for.

Paper: https://arxiv.org/abs/2502.02671

    P = mean |s - t|^2 (proxy),  G = mean |s - o|^2 (golden) = P + mean |t - o|^2 + 2 mean <s - t, t - o>
    healthy: log P = a - b log n over observations n; alarm where P stays above the fit's prediction band
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy

from leafkit.errors import InputError
from leafkit.methods.method import Probe
from leafkit.types import Float32


@dataclass(frozen=True, kw_only=True)
class Hacking(Probe):
    """Watches the distance to the teacher for a departure from its power law, and that to an oracle where there is one.

    Without an oracle a departure is all that can be seen: ``refresh_data`` says that fresh texts are due. With one,
    ``stop`` says that the golden distance rises while the proxy falls. A falling learning rate bends the law as well.

    ``every``: validations from one observation to the next, 0 for off.
    ``oracle``: a .npy file of the oracle's vectors of the held-out texts, row by row; empty for none.
    ``window``: how many first observations, after the start, are taken for healthy (ours 8).
    ``patience``: observations in a row above the band before the alarm (ours 3).
    ``deviations``: half width of the band, in standard deviations of a prediction (ours 3).
    ``rise``: by how much the smoothed golden distance is to rise above its least (ours 0.01).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2502.02671"
    reconstruction: ClassVar[str] = (
        "the paper's detector is the eye on a log-log plot; the regression band, its numbers and the events are ours"
    )

    oracle: str = ""
    window: int = 8
    patience: int = 3
    deviations: float = 3.0
    rise: float = 0.01

    def __post_init__(self) -> None:
        least = {"every": 0, "window": 3, "patience": 1, "deviations": 0, "rise": 0}
        self.check_fields({name: (getattr(self, name) >= bound, f"{bound} or more") for name, bound in least.items()})

    def observe(self, student: Float32, teacher: Float32, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """``proxy`` and, with an oracle, ``golden`` and ``cross``; ``events`` where something is wrong."""
        before = [entry["hacking"] for entry in history if "hacking" in entry]
        found: dict[str, Any] = {"proxy": distance(student, teacher)}
        proxies = [one["proxy"] for one in before] + [found["proxy"]]
        events = []
        if departs(proxies, window=self.window, patience=self.patience, deviations=self.deviations):
            events.append("refresh_data")
        if self.oracle:
            oracle = _read(Path(self.oracle), teacher.shape)
            found |= {"golden": distance(student, oracle), "cross": cross(student, teacher, oracle)}
            goldens = [one["golden"] for one in before] + [found["golden"]]
            if rises(goldens, self.rise) and proxies[-1] < min(proxies[:-1]):
                events.append("stop")
        return found | ({"events": events} if events else {})


def distance(one: Float32, other: Float32) -> float:
    """The mean squared Euclidean distance of (rows, dim) vectors."""
    return float(((one.astype(numpy.float64) - other) ** 2).sum(axis=1).mean())


def cross(student: Float32, teacher: Float32, oracle: Float32) -> float:
    """2 mean <s - t, t - o>: what golden exceeds the sum of proxy and the teacher's own distance by."""
    errors, faults = student.astype(numpy.float64) - teacher, teacher.astype(numpy.float64) - oracle
    return float(2 * (errors * faults).sum(axis=1).mean())


def departs(series: Sequence[float], *, window: int, patience: int, deviations: float) -> bool:
    """Whether the last ``patience`` of ``series`` lie above the law of the ``window`` observations after the first.

    The law is a line in log-log over the number of the observation (steps between validations are alike); the band is
    that of the regression's prediction. Shorter series never depart.
    """
    if len(series) < 1 + window + patience:
        return False
    numbers = numpy.log(numpy.arange(1, len(series) + 1))
    values = numpy.log(numpy.maximum(series, 1e-300))
    x, y = numbers[1 : 1 + window], values[1 : 1 + window]
    slope, level = numpy.polyfit(x, y, 1)
    noise = numpy.sqrt(((y - level - slope * x) ** 2).sum() / (window - 2))
    last = numbers[-patience:]
    leverage = 1 + 1 / window + (last - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
    return bool((values[-patience:] > level + slope * last + deviations * noise * numpy.sqrt(leverage)).all())


def rises(series: Sequence[float], share: float, smoothing: float = 0.5) -> bool:
    """Whether the moving average of ``series`` ends more than ``share`` above its least."""
    average, least = series[0], series[0]
    for value in series[1:]:
        average = smoothing * average + (1 - smoothing) * value
        least = min(least, average)
    return average > (1 + share) * least


def _read(path: Path, shape: tuple[int, ...]) -> Float32:
    try:
        oracle = numpy.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"hacking:oracle {path} cannot be read: {error}; wanted a .npy file of vectors") from error
    if oracle.shape != shape:
        raise InputError(f"hacking:oracle {path} holds {oracle.shape}; wanted {shape}, a vector for each held-out text")
    return oracle
