"""A driver of a real Ray cluster, to be killed: its workers have known vectors, take their time and keep a log.

Usage: ray_driver.py TEXTS OUT LOG SECONDS [BAD]. A line of the log is "process shard". The text BAD cannot be encoded.
"""

import os
import runpy
import sys
import time
from pathlib import Path

from leafkit.command import exit_on_error
from leafkit.teachers import spread_with_ray as module
from leafkit.teachers.embed import embed

FILLING = str(Path(__file__).resolve().parents[1] / "vectors" / "filling.py")


def worker_class(log, pause, bad):
    """Return a class of workers that Ray sends to its processes by value, because a function defines it."""
    filling = FILLING

    class SlowWorker(module.Worker):
        def _open(self):
            if self._encoder is None:
                teacher = runpy.run_path(filling)["HashTeacher"]()
                encode = teacher.encode

                def failing(texts, role):
                    if bad in texts:
                        raise RuntimeError("no such token")
                    return encode(texts, role)

                teacher.encode = failing
                self._encoder = teacher
            return self._encoder

        def encode(self, shard, *task):
            with open(log, "a") as file:
                file.write(f"{os.getpid()} {shard}\n")
            time.sleep(pause)
            return super().encode(shard, *task)

    return SlowWorker


def main(texts, out, log, pause, bad=None):
    module.Worker = worker_class(log, float(pause), bad)
    with exit_on_error():
        embed(texts, "known vectors", out, ray="local", shards=12, workers=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
