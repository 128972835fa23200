"""A study: variants trained once per seed. Finished runs are files on disk, which the next call reuses.

A subclass, such as that of `leafkit.compare`, defines what identifies a run and how a run is made. The rest is here:
the folder of finished runs, locks, resuming, progress and teachers that are opened once.
"""

from __future__ import annotations

import glob
import json
import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from leafkit.files.atomic import write_json
from leafkit.files.disk_errors import explain_disk_errors
from leafkit.files.lock import exclusive_lock
from leafkit.files.progress import progress
from leafkit.types import Teacher
from leafkit.vectors.cached import CachedEncoder, cached

_log = logging.getLogger("leafkit")

Run = dict[str, Any]
"""One variant trained with one seed, as JSON: ``seed``, the seconds of training and what was measured."""


class Variant(Protocol):
    """What a study trains: a recipe, or a row of a table. The name is unique in its study."""

    @property
    def name(self) -> str:
        """The name in file names and tables."""
        ...


AnyVariant = TypeVar("AnyVariant", bound=Variant)


@dataclass(kw_only=True)
class Study(ABC, Generic[AnyVariant]):
    """Variants x seeds below the folder ``work``; the first of ``variants`` is the baseline.

    ``work``/runs holds a JSON file for each finished run, ``work``/students the students in training, and
    ``work``/locks a lock for each run, so that two processes never train the same one. Teacher vectors are cached
    below ``cache``.
    """

    variants: Sequence[AnyVariant]
    seeds: Sequence[int]
    work: Path
    cache: Path
    _teachers: dict[str, CachedEncoder] = field(default_factory=dict, init=False, repr=False)

    @abstractmethod
    def key(self, variant: AnyVariant, seed: int) -> str:
        """Return a short hash of everything that the run's result depends on."""

    @abstractmethod
    def train_and_measure(self, variant: AnyVariant, seed: int, student: Path) -> Run:
        """Train ``variant`` with ``seed`` in the folder ``student`` and return what was measured."""

    def seed_used(self, variant: AnyVariant, seed: int) -> int:
        """Return the seed whose run is used for ``seed``: another one if ``variant`` does not depend on the seed."""
        return seed

    def log_line(self, run: Run) -> str:
        """Return the line that is logged when ``run`` is finished."""
        return f"seed {run['seed']}: {run['seconds']:.0f} s"

    def run(self, variants: Sequence[AnyVariant] | None = None) -> dict[str, list[Run]]:
        """Make the missing runs and return those of each variant, by name and in the order of the seeds.

        ``variants`` limits the study to some of its variants.
        """
        chosen = self.variants if variants is None else variants
        with explain_disk_errors(self.work):
            for name in ("runs", "students", "locks"):
                (self.work / name).mkdir(parents=True, exist_ok=True)
        cells = [(variant, seed) for seed in self.seeds for variant in chosen]
        missing = [(variant, seed) for variant, seed in cells if not self._file(variant, seed).is_file()]
        with progress("runs", total=len(cells), unit="runs", done=len(cells) - len(missing)) as bar:
            for variant, seed in missing:
                self._make(variant, seed)
                bar.update(1)
        return {variant.name: [self._read(variant, seed) for seed in self.seeds] for variant in chosen}

    def run_name(self, variant: AnyVariant, seed: int) -> str:
        """Return the name of a run's files: variant, seed and key."""
        seed = self.seed_used(variant, seed)
        return f"{variant.name}-seed{seed}-{self.key(variant, seed)}"

    def cached_teacher(self, key: str, opener: Callable[[], Teacher], *, dtype: str = "float16") -> CachedEncoder:
        """Return the teacher that ``opener`` opens, behind its vector store; one ``key`` is opened only once."""
        if key not in self._teachers:
            self._teachers[key] = cached(opener(), self.cache, dtype=dtype)
        return self._teachers[key]

    def _make(self, variant: AnyVariant, seed: int) -> None:
        """Make one run unless its file exists. Wait while another process makes the same run."""
        name, seed = self.run_name(variant, seed), self.seed_used(variant, seed)
        with exclusive_lock(self.work / "locks" / name):
            file = self.work / "runs" / f"{name}.json"
            if file.is_file():
                return
            run = self.train_and_measure(variant, seed, self.work / "students" / name)
            write_json(file, run)
            for leftover in (self.work / "students").glob(f"*{glob.escape(name)}*"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        _log.info("%s, %s", variant.name, self.log_line(run))

    def _read(self, variant: AnyVariant, seed: int) -> Run:
        return json.loads(self._file(variant, seed).read_bytes()) | {"seed": seed}

    def _file(self, variant: AnyVariant, seed: int) -> Path:
        return self.work / "runs" / f"{self.run_name(variant, seed)}.json"
