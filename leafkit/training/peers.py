"""Peer students: untrained students beside the student, each with its own layers and a ridge head.

A method gets one from `leafkit.methods.setting.Setting.open` and keeps it in its state. There it is trained, saved and
restored with everything else that the method learns.
"""

from __future__ import annotations

from dataclasses import dataclass

from leafkit.errors import OptionError
from leafkit.space import Space
from leafkit.students.build import assemble, transformer_body
from leafkit.students.spec import Static, parse_student
from leafkit.students.student import Student
from leafkit.training.data import TrainingData
from leafkit.training.forward import StudentForward
from leafkit.training.run import Run
from leafkit.training.source import open_source, teacher_model
from leafkit.training.start import fit_start
from leafkit.training.tokenizers import tokenizer_difference
from leafkit.types import Teacher


@dataclass(frozen=True, kw_only=True)
class Peers:
    """Builds the peers of one run; ``space`` and ``teacher_model`` are the space and the model of its teacher."""

    run: Run
    space: Space
    teacher_model: str | None

    def open(self, name: str, beside: Student, data: TrainingData) -> StudentForward:
        """Build the peer ``name`` of the student ``beside``, with the same ridge start on the texts of ``data``.

        Raises `OptionError` as `build` does, and if the texts are longer than the peer can read.
        """
        student, longest = self.build(name, beside), int(data.tokens.lengths.max())
        if longest > (most := student.body.longest_input()):
            raise OptionError(
                f"the peer {name} reads at most {most} tokens, but the longest text has {longest}. Truncate the texts "
                f"(training_length={most}) or choose another peer."
            )
        fit_start(self.run, parse_student(name), student.to(self.run.device), data)
        return StudentForward(student, self.run.recipe.precision).train()

    def build(self, name: str, beside: Student | None) -> Student:
        """Build the peer ``name`` of ``beside`` (None for a token table) with a head of random weights, on the CPU.

        Raises `OptionError` for a name that is no student, and for a peer that cannot read the student's token ids.
        """
        spec, recipe = parse_student(name), self.run.recipe
        if isinstance(spec, Static) or beside is None or beside.kind != "transformer":
            table = "the peer" if isinstance(spec, Static) else "the student"
            raise OptionError(
                f"the peer {name} cannot read the token ids of the student, because {table} is a token table. Give "
                "two students with transformer layers and the same tokenizer."
            )
        # Another seed than the student's, because two equal networks would have nothing to teach each other.
        seed = recipe.seed + 1
        body = transformer_body(spec, open_source(spec, self.teacher_model), self.teacher_model, seed)
        difference = tokenizer_difference(body.tokenizer, beside.tokenizer, names=("the peer", "the student"))
        if difference is not None:
            raise OptionError(
                f"the peer {name} cannot read the token ids of the student: {difference}. Give two students with the "
                "same tokenizer."
            )
        return assemble(body, self.space, head_bias=recipe.head_bias, prompt=recipe.student_prompt, seed=seed)


def peers_of(run: Run, teacher: Teacher) -> Peers:
    """Return the peers of ``run``, which may start from the layers of ``teacher``."""
    return Peers(run=run, space=teacher.space, teacher_model=teacher_model(teacher))


def check_peers(run: Run, teacher: Teacher, student: Student | None) -> None:
    """Raise `OptionError` if a method opens a peer that cannot train beside ``student``, None for a token table."""
    for method in run.plan.methods:
        for name in method.peers:
            peers_of(run, teacher).build(name, student)
