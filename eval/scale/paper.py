"""Ten million documents on paper: the measured stages, scaled by what each depends on.

Reading and encoding grow with the texts, and encoding is shared by the machines; each of them reads all texts once. An
index is built on one machine: the vectors that train its lists, and all rows, are compared with the centre of each
list, of which there are four square roots of the rows. All else grows with the rows.

All figures are processor seconds: what a core takes that has nothing else to do.
"""

from __future__ import annotations

import re
from typing import Any

from leafkit.errors import OptionError
from leafkit.index.fill import TRAINING_ROWS
from leafkit.search.plan import plan_index

ROWS, MACHINES = 10_000_000, 32
USD_PER_CORE_HOUR = 0.05  # an assumption, not a measurement: the order of what clouds ask


def project(found: dict[str, Any], rows: int = ROWS, machines: int = MACHINES) -> dict[str, Any]:
    """Return seconds, bytes and dollars of each stage for ``rows`` documents, from the figures of `eval.scale`."""
    measured, parts = found["rows"], found["parts"]
    factory = plan_index(rows, "float32", None).factory
    times, lists = rows / measured, _lists(factory) / _lists(found["factory"])
    survey = parts["survey_seconds"] * times
    # Every shard of the measurement read all texts of its own corpus.
    encode = (found["embed"]["cpu_seconds"] - found["embed"]["shards"] * parts["survey_seconds"]) * times
    train = parts["train_seconds"] / parts["trained_on"] * min(TRAINING_ROWS, measured)
    add = parts["add_seconds"] / parts["added"] * measured
    rest = max(0.0, found["index"]["cpu_seconds"] - train - add)
    stages = [_shared("encode with the student", survey, encode, machines, found["embed"]["bytes"] * times)]
    if teacher := found["teacher"]:
        seconds = teacher["cpu_seconds"] / teacher["texts"] * rows
        name = f"encode with {teacher['model']}"
        stages.append(_shared(name, survey, seconds, machines, found["embed"]["bytes"] * times))
    build = train * TRAINING_ROWS / min(TRAINING_ROWS, measured) * lists + add * times * lists + rest * times
    stages.append(_stage("index", build, build, build, found["index"]["bytes"] * times))
    return {"rows": rows, "machines": machines, "usd_per_core_hour": USD_PER_CORE_HOUR, "stages": stages}


def table(projected: dict[str, Any]) -> str:
    """Return the projection as a table in Markdown."""
    lines = [
        f"| stage | one machine | {projected['machines']} machines | bytes | dollars, one | dollars, "
        f"{projected['machines']} |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for stage in projected["stages"]:
        one, many = stage["one_machine_seconds"], stage["many_machines_seconds"]
        lines.append(
            f"| {stage['stage']} | {_time(one)} | {_time(many)} | {stage['bytes'] / 1e9:.1f} GB | "
            f"{stage['one_machine_usd']:.2f} | {stage['many_machines_usd']:.2f} |"
        )
    return "\n".join(lines)


def _shared(name: str, survey: float, encode: float, machines: int, size: float) -> dict[str, Any]:
    return _stage(name, survey + encode, survey + encode / machines, survey * machines + encode, size)


def _stage(name: str, one: float, many: float, many_cores: float, size: float) -> dict[str, Any]:
    """Return a stage of ``one`` and ``many`` seconds; ``many_cores`` are the seconds of all machines together."""
    price = USD_PER_CORE_HOUR / 3600
    return {
        "stage": name,
        "one_machine_seconds": round(one),
        "many_machines_seconds": round(many),
        "bytes": round(size),
        "one_machine_usd": round(one * price, 2),
        "many_machines_usd": round(many_cores * price, 2),
    }


def _lists(factory: str) -> int:
    """Return the number of inverted lists that ``factory`` names."""
    match = re.search(r"IVF(\d+)", factory)
    if match is None:
        raise OptionError(f"the factory {factory} has no inverted lists. Measure one that has, e.g. IVF4096.")
    return int(match[1])


def _time(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
