"""Run a command as a stage that is measured: seconds, processor seconds and the peak of its resident memory."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from eval.bench.side import environment
from leafkit.errors import LeafkitError

INTERVAL = 0.05  # seconds between two looks at the memory


def run_stage(arguments: Sequence[str], *, log: Path) -> dict[str, float]:
    """Run ``leafkit`` with ``arguments`` on one thread and return ``seconds``, ``cpu_seconds`` and ``peak_mib``.

    The peak is the process's own high-water mark (VmHWM of Linux), which counts the pages of files that it maps.
    stdout and stderr go to ``log``. Raises `LeafkitError` with the end of the log if the command fails.
    """
    start, peak = time.perf_counter(), 0.0
    with open(log, "ab") as out:
        command = [sys.executable, "-m", "leafkit.cli", *arguments]
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment(1))
        cpu = 0.0
        while process.poll() is None:
            peak, cpu = max(peak, _peak(process.pid)), max(cpu, _cpu(process.pid))
            time.sleep(INTERVAL)
    if process.returncode:
        end = "\n".join(log.read_text("utf-8", "replace").splitlines()[-5:])
        raise LeafkitError(f"leafkit {arguments[0]} stopped with exit code {process.returncode}:\n{end}")
    seconds = time.perf_counter() - start
    return {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "peak_mib": round(peak)}


def _peak(process: int) -> float:
    """Return the high-water mark of a process's resident memory in MiB; 0 if it has ended."""
    match = re.search(r"VmHWM:\s+(\d+) kB", _read(process, "status"))
    return int(match[1]) / 1024 if match else 0.0


def _cpu(process: int) -> float:
    """Return the processor seconds that a process has used; 0 if it has ended."""
    fields = _read(process, "stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / 100 if fields else 0.0


def _read(process: int, name: str) -> str:
    try:
        return Path(f"/proc/{process}/{name}").read_text()
    except OSError:
        return ""
