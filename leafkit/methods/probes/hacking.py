"""Teacher hacking: detect a student that still approaches its teacher but moves away from the oracle.

Paper: https://arxiv.org/abs/2502.02671

    P = mean |s - t|^2 (proxy),  G = mean |s - o|^2 (golden) = P + mean |t - o|^2 + 2 mean <s - t, t - o>
    for vectors s of the student, t of the teacher and o of the oracle, the model that the teacher approximates
    normal: log P = a - b log T, with T the sum of the learning rates of all steps before the observation; alarm if P
    stays above the prediction band of this fit
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy
from numpy.typing import NDArray

from leafkit.errors import InputError, OptionError
from leafkit.files.arrays import read_array
from leafkit.files.json_file import explain_invalid
from leafkit.methods.method import Probe
from leafkit.methods.setting import Facts
from leafkit.types import Float32

if TYPE_CHECKING:
    from leafkit.methods.look import Look

Float64 = NDArray[numpy.float64]

# The fewest observations to which a line with an error can be fitted.
LEAST_WINDOW = 3


@dataclass(frozen=True, kw_only=True)
class Hacking(Probe):
    """Watch the distance to the teacher for a deviation from its power law, and optionally the distance to an oracle.

    The event ``refresh_data`` reports a deviation from the power law: train on new texts. With an oracle, the event
    ``stop`` reports that the golden distance rises while the proxy distance falls. A training that departs before the
    observations that are assumed to be normal end, as with very few texts, raises no ``refresh_data``.

    ``every``: number of validations from one observation to the next; 0 disables the probe.
    ``oracle``: a .npy file with the oracle's vectors of the held-out texts, row by row; empty for no oracle.
    ``window``: share of all observations that are assumed to be normal, those after the start; at least 3 (ours 0.5).
    ``patience``: number of successive observations above the band that raise the alarm (ours 3).
    ``deviations``: half width of the band, in standard deviations of a prediction (ours 3).
    ``rise``: relative rise of the smoothed golden distance above its minimum that raises the alarm (ours 0.01).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2502.02671"
    reconstruction: ClassVar[str] = (
        "the paper detects deviations by eye on a log-log plot; the regression band, its values and the events are "
        "ours, and so is the sum of learning rates as the time of the power law: over steps, the falling learning rate "
        "bends the law of a healthy training"
    )
    small: ClassVar[Mapping[str, Any]] = {"patience": 1}

    oracle: str = ""
    window: float = 0.5
    patience: int = 3
    deviations: float = 3.0
    rise: float = 0.01

    def __post_init__(self) -> None:
        least = {"every": 0, "patience": 1, "deviations": 0, "rise": 0}
        checks = {name: (getattr(self, name) >= bound, f"{bound} or more") for name, bound in least.items()}
        self.check_fields(checks | {"window": (0 < self.window < 1, "more than 0 and less than 1")})

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the training has too few validations to look at, `InputError` for a wrong oracle."""
        if not self.every:
            return
        planned = self._observations(facts.validations)
        needed = 1 + self._window(planned) + self.patience
        if needed > planned:
            raise OptionError(
                f"hacking can never see a deviation: it needs {needed} observations (the start, "
                f"{self._window(planned)} normal ones and {self.patience} above them), but the training has {planned}. "
                "Lower valid_every, hacking:window or hacking:patience."
            )
        if self.oracle and (width := _read_oracle(Path(self.oracle)).shape[-1]) != facts.dim:
            raise InputError(f"hacking:oracle: {self.oracle} contains vectors of width {width}; expected {facts.dim}.")

    def observe(self, look: Look) -> dict[str, Any]:
        """Return ``proxy`` and, with an oracle, ``golden`` and ``cross``; an alarm adds ``events``."""
        student, teacher = look.student, look.teacher
        entries = [entry for entry in look.history if "hacking" in entry]
        earlier = [entry["hacking"] for entry in entries]
        found: dict[str, Any] = {"proxy": distance(student, teacher)}
        proxies = [figures["proxy"] for figures in earlier] + [found["proxy"]]
        events = []
        window = self._window(self._observations(look.validations))
        learned = numpy.concatenate([[0.0], numpy.cumsum(look.rates)])
        times = learned[[*(entry["step"] for entry in entries), look.step]]
        if departs(proxies, times, window=window, patience=self.patience, deviations=self.deviations):
            events.append("refresh_data")
        if self.oracle:
            oracle = _read_oracle(Path(self.oracle))
            if oracle.shape != teacher.shape:
                raise InputError(
                    f"hacking:oracle: {self.oracle} contains vectors of shape {oracle.shape}; expected "
                    f"{teacher.shape}, one vector for each held-out text."
                )
            found |= {"golden": distance(student, oracle), "cross": cross(student, teacher, oracle)}
            goldens = [figures["golden"] for figures in earlier] + [found["golden"]]
            if rises(goldens, self.rise) and proxies[-1] < min(proxies[:-1]):
                events.append("stop")
        return found | ({"events": events} if events else {})

    def _observations(self, validations: int) -> int:
        """Return the number of observations in a training with ``validations`` validations."""
        return math.ceil(validations / self.every)

    def _window(self, observations: int) -> int:
        """Return the number of observations after the first that are assumed to be normal."""
        return max(LEAST_WINDOW, round(self.window * observations))


def distance(one: Float32, other: Float32) -> float:
    """Return the mean squared Euclidean distance between two arrays of vectors, (rows, dim)."""
    return float(((one.astype(numpy.float64) - other) ** 2).sum(axis=1).mean())


def cross(student: Float32, teacher: Float32, oracle: Float32) -> float:
    """Return 2 mean <s - t, t - o>: the golden distance minus the proxy and the teacher's own distance."""
    student_errors, teacher_errors = student.astype(numpy.float64) - teacher, teacher.astype(numpy.float64) - oracle
    return float(2 * (student_errors * teacher_errors).sum(axis=1).mean())


def departs(
    series: Sequence[float], times: Sequence[float] | Float64, *, window: int, patience: int, deviations: float
) -> bool:
    """Return whether the last ``patience`` values of ``series`` lie above the power law of its beginning.

    The power law is a line in log-log over ``times``, one for each value and positive after the first. It is fitted to
    the ``window`` values after the first. A value lies above if it exceeds the prediction by ``deviations`` standard
    deviations. The result is False for a series shorter than 1 + ``window`` + ``patience``.
    """
    if len(series) < 1 + window + patience:
        return False
    clock, values = numpy.log(times[1:]), numpy.log(numpy.maximum(series[1:], 1e-300))
    x, y = clock[:window], values[:window]
    slope, level = numpy.polyfit(x, y, 1)
    noise = numpy.sqrt(((y - level - slope * x) ** 2).sum() / (window - 2))
    last = clock[-patience:]
    leverage = 1 + 1 / window + (last - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
    return bool((values[-patience:] > level + slope * last + deviations * noise * numpy.sqrt(leverage)).all())


def rises(series: Sequence[float], share: float, smoothing: float = 0.5) -> bool:
    """Return whether the moving average of ``series`` ends more than ``share`` (relative) above its minimum."""
    average, least = series[0], series[0]
    for value in series[1:]:
        average = smoothing * average + (1 - smoothing) * value
        least = min(least, average)
    return average > (1 + share) * least


def _read_oracle(path: Path) -> Float32:
    """Read the oracle's vectors from the .npy file ``path``; raise `InputError` if that is no such file."""
    advice = "Provide a .npy file of vectors."
    with explain_invalid(f"hacking:oracle: {path}", expected="a .npy array", advice=advice, error_type=InputError):
        return read_array(path)
