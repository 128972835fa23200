"""What a student may cost: parameters and time of one query."""

from __future__ import annotations

import re
from dataclasses import dataclass

from leafkit.errors import OptionError

_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """At most ``parameters`` in all, and ``milliseconds`` for one short text on one CPU core; None for no bound."""

    parameters: int | None = None
    milliseconds: float | None = None


def parse_budget(text: str) -> Budget:
    """The budget that ``text`` such as ``2M params, 1 ms`` states; raises `OptionError` for anything else."""
    found: dict[str, float] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*([\d.]+)\s*([kmb]?)\s*(params|ms)\s*", part, re.IGNORECASE)
        if match is None or match[1].count(".") > 1 or match[1] == "." or (match[3].lower() == "ms" and match[2]):
            raise OptionError(f"budget {text!r} is not understood at {part.strip()!r}; wanted e.g. '2M params, 1 ms'")
        name = match[3].lower()
        if name in found:
            raise OptionError(f"budget {text!r} states {name} twice")
        found[name] = float(match[1]) * _SCALES[match[2].lower()]
    if not all(found.values()):
        raise OptionError(f"budget {text!r} leaves nothing for a student")
    parameters = found.get("params")
    return Budget(parameters=None if parameters is None else round(parameters), milliseconds=found.get("ms"))
