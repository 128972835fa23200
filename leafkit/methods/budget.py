"""The budget of an architecture search: parameters, and the time of one query."""

from __future__ import annotations

import re
from dataclasses import dataclass

from leafkit.errors import OptionError

_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Upper bounds for a student; None means no bound.

    ``parameters`` is the number of all parameters, ``milliseconds`` the time of one short text on one CPU core.
    """

    parameters: int | None = None
    milliseconds: float | None = None

    def __str__(self) -> str:
        """The bounds in words, e.g. ``2,000,000 parameters and 1 ms``."""
        bounds = [f"{self.parameters:,} parameters"] if self.parameters is not None else []
        bounds += [f"{self.milliseconds:g} ms"] if self.milliseconds is not None else []
        return " and ".join(bounds) or "any size"


def parse_budget(text: str) -> Budget:
    """Return the budget described by ``text``, such as ``2M params, 1 ms``; raise `OptionError` for other text."""
    bounds: dict[str, float] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*([\d.]+)\s*([kmb]?)\s*(params|ms)\s*", part, re.IGNORECASE)
        if match is None or match[1].count(".") > 1 or match[1] == "." or (match[3].lower() == "ms" and match[2]):
            raise OptionError(f"cannot read {part.strip()!r} in budget {text!r}; expected e.g. '2M params, 1 ms'")
        unit = match[3].lower()
        if unit in bounds:
            raise OptionError(f"budget {text!r} gives {unit} twice. Remove one of the two.")
        bounds[unit] = float(match[1]) * _SCALES[match[2].lower()]
    if not all(bounds.values()):
        raise OptionError(f"budget {text!r} contains a bound of 0; expected more than 0")
    parameters = bounds.get("params")
    return Budget(parameters=None if parameters is None else round(parameters), milliseconds=bounds.get("ms"))
