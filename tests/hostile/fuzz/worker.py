"""The child process: damages and uses one case after the other, and reports each before and after.

A case can end this process or stop it for ever. `tests.hostile.fuzz.runner` then knows which case did.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from leafkit.errors import LeafkitError
from tests.hostile.fuzz.target import Target, all_targets

MEMORY = 1 << 30  # bytes that a case may add to those of the process
SECONDS = 10.0  # of processor time


def main(arguments: Sequence[str]) -> None:
    """Run the jobs ``[[target, seed, first, last], ...]``; report to the file descriptor that is named first."""
    report, jobs = int(arguments[0]), json.loads(arguments[1])
    targets = all_targets()
    for name, seed, first, last in jobs:
        with _folders() as folders:
            target = targets[name]
            target.build(folders / "whole")
            answer = target.use(_copy(folders))
            with _memory_limit():
                for case in range(first, last):
                    os.write(report, json.dumps([name, case]).encode() + b"\n")
                    outcome = run_case(target, folders, answer, seed, case)
                    os.write(report, json.dumps([name, case, *outcome]).encode() + b"\n")


def run_case(target: Target, folders: Path, answer: str, seed: int, case: int) -> tuple[str, str]:
    """Damage a copy of the folder and use it. Returns what happened and a detail."""
    file = target.damage(_copy(folders), seed, case)
    started = time.process_time()
    outcome = _use(target, folders / "case", answer)
    if time.process_time() - started > SECONDS:
        outcome = "hang", f"{time.process_time() - started:.0f} s of processor time"
    return outcome[0], f"{file}: {outcome[1]}"


def _use(target: Target, folder: Path, answer: str) -> tuple[str, str]:
    try:
        got = target.use(folder)
    except LeafkitError as error:
        return "refused", str(error)
    except MemoryError as error:
        return "memory", _trace(error)
    except BaseException as error:  # a panic of a Rust library is no Exception
        return "traceback", _trace(error)
    return ("right", "") if got == answer else ("wrong" if target.strict else "other", got)


def _trace(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/leafkit/" in frame.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno} " if frames else ""
    return f"{place}{type(error).__name__}: {str(error)[:300]}"


def _copy(folders: Path) -> Path:
    shutil.rmtree(folders / "case", ignore_errors=True)
    return Path(shutil.copytree(folders / "whole", folders / "case", copy_function=shutil.copyfile))


@contextmanager
def _folders() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if os.access(memory, os.W_OK) else None) as folder:
        (Path(folder) / "whole").mkdir()
        yield Path(folder)


@contextmanager
def _memory_limit() -> Iterator[None]:
    """Let allocations fail that would add more than `MEMORY` to the process; without effect outside Linux."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    status = Path("/proc/self/status")
    if status.exists():
        used = next(int(line.split()[1]) << 10 for line in status.read_text().splitlines() if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


if __name__ == "__main__":
    main(sys.argv[1:])
