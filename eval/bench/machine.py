"""The machine that figures were measured on, and its load."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from leafkit.command import command_line
from leafkit.evaluation.provenance import commit, packages
from leafkit.version import __version__


def describe_machine() -> dict[str, Any]:
    """Return the processor, the cores that this process may use, memory in GB, and the versions of all packages."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "leafkit": __version__,
        "commit": commit(),
        "command": command_line(),
        "packages": packages(),
    }


def load() -> list[float]:
    """Return the load averages over 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def peak_memory() -> float:
    """Return the peak resident memory of this process in MB, including mapped files."""
    # Not getrusage: its maximum is inherited from the parent process.
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    family = f"family {named.get('cpu family', '?').strip()} model {named.get('model', '?').strip()}"
    reported = ("avx2", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    flags = [flag for flag in reported if flag in named.get("flags", "").split()]
    return f"{named.get('model name', platform.machine()).strip()} ({', '.join([family, *flags])})"
