"""`Run`: what all stages of one distillation share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leafkit.methods.method import Method
from leafkit.methods.plan import Plan
from leafkit.space import Space
from leafkit.students.encoder import open_student
from leafkit.students.folder import StudentFacts, read_student
from leafkit.students.student import Layout, Student
from leafkit.training.data import TrainingData, open_data
from leafkit.training.recipe import Recipe, RunOptions
from leafkit.training.run_folder import RunFolder
from leafkit.vectors.mapping import read_mapping
from leafkit.vectors.store import VectorStore

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, kw_only=True)
class Run:
    """One distillation in one process: the checked options, the folders and the hardware.

    ``student`` names the student, or ``architecture`` searches for a student within ``budget``. ``plan`` holds the
    methods of the training, and ``recipe`` everything else that decides the result. ``folder`` holds the unfinished
    run, and the finished student is written to ``out``.
    """

    student: str | None
    architecture: str | Method | None = None
    budget: str | None = None
    plan: Plan
    recipe: Recipe
    options: RunOptions
    out: Path
    folder: RunFolder
    accelerator: Accelerator
    device: str

    @property
    def is_main(self) -> bool:
        """Whether this process prepares, validates and writes; the other processes only train."""
        return self.accelerator.is_main_process

    @property
    def processes(self) -> int:
        """The number of processes that share each batch."""
        return self.accelerator.num_processes

    def open_store(self, space: Space) -> VectorStore:
        """Open the cached vectors of a teacher with ``space``."""
        return VectorStore.open(self.options.cache, space, dtype=self.recipe.store_dtype)

    def start_facts(self) -> StudentFacts:
        """Read leafkit.json of the student as it starts."""
        return read_student(self.folder.start)

    def open_start(self) -> Student:
        """Open the student as it starts, on the run's device."""
        return open_student(self.folder.start, device="cpu").student.to(self.device)

    def open_data(self, layout: Layout) -> TrainingData:
        """Open the texts of the run with the teacher's vectors, for a student whose batches have ``layout``."""
        space = self.start_facts().space
        mapping = read_mapping(self.folder.start, space)
        store = self.open_store(mapping.base if mapping else space)
        return open_data(self.folder.start, layout, store, mapping)
