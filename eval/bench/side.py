"""One side of a comparison, measured in its own process: no threads, caches or memory are shared with the other.

A side is a generator function. It first yields facts about itself when it is ready, then one result for each round.
Both must be JSON. ``python -m eval.bench.side MODULE:FUNCTION ARGUMENTS`` runs a side: one round per line on stdin.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import IO, Any, cast

from leafkit.errors import LeafkitError

Result = dict[str, Any]


class Side:
    """The running side ``target`` (``module:function``), a context manager. ``facts`` is what it first yielded."""

    def __init__(self, target: str, arguments: Mapping[str, Any], *, threads: int | None = None) -> None:
        """Start the side with at most ``threads`` threads. Raise `LeafkitError` with its stderr if it fails."""
        self._target = target
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        command = [sys.executable, "-m", __name__, target, json.dumps(arguments)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, env=environment(threads)
        )
        # Both are pipes, so neither is None.
        self._stdin = cast(IO[bytes], self._process.stdin)
        self._stdout = cast(IO[bytes], self._process.stdout)
        self.facts = self._read()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self._stdin.close()
        self._process.wait()
        self._stdout.close()
        self._stderr.close()

    def round(self) -> Result:
        """Run one more round and return its result."""
        self._stdin.write(b"\n")
        self._stdin.flush()
        return self._read()

    def _read(self) -> Result:
        line = self._stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self._stderr.seek(0)
        last_lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()[-8:]
        raise LeafkitError("\n".join([f"the measurement {self._target} stopped with exit code {code}:", *last_lines]))


def environment(threads: int | None = None) -> dict[str, str]:
    """Return the environment of a measured process: offline, with at most ``threads`` threads."""
    limits = () if threads is None else ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    # Otherwise the rival would spend its start asking the hub for newer files.
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return {**os.environ, **offline, **dict.fromkeys(limits, str(threads))}


def take_turns(sides: Mapping[str, Side], rounds: int) -> dict[str, list[Result]]:
    """Return ``rounds`` results of each side. In every round all sides run one after the other, under the same load."""
    results: dict[str, list[Result]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides)
        for name in names if number % 2 == 0 else reversed(names):
            results[name].append(sides[name].round())
    return results


def main() -> None:
    """Run the side that the command line names until stdin ends."""
    # Libraries may print to stdout, but only results may reach the pipe that the parent reads.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, _, function = sys.argv[1].partition(":")
    results = getattr(importlib.import_module(module), function)(**json.loads(sys.argv[2]))
    answers.write(json.dumps(next(results)) + "\n")
    answers.flush()
    for _ in sys.stdin:
        answers.write(json.dumps(next(results)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
