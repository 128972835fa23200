"""Build a student as it starts: a body, a linear head into the teacher's space, its prompts and its length limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from leafkit.space import Space
from leafkit.students.body import fresh_body, pretrained_body
from leafkit.students.prompts import StudentPrompt, choose_prompts
from leafkit.students.spec import Fresh, Pretrained, Static, StudentSpec
from leafkit.students.static import static_body
from leafkit.students.student import Body, Student
from leafkit.types import Teacher

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def build_student(
    spec: StudentSpec,
    teacher: Teacher,
    *,
    source: SentenceTransformer | None = None,
    teacher_model: str | None = None,
    head_bias: bool = True,
    prompt: StudentPrompt = "same",
    seed: int = 0,
) -> Student:
    """Build the untrained student that ``spec`` describes, on the CPU.

    ``source`` is the opened model that a `Pretrained` student starts from; its modules become part of the student.
    ``teacher_model`` is the folder or hub id of the teacher's model. Students of the other kinds use its tokenizer
    unless they have their own. The weights of the head, with or without a bias, are drawn from ``seed``. ``prompt``
    says what the student reads in place of the teacher's prompts.
    """
    if isinstance(spec, Static):
        body = static_body(spec, teacher, teacher_model, seed)
    else:
        body = transformer_body(spec, source, teacher_model, seed)
    return assemble(body, teacher.space, head_bias=head_bias, prompt=prompt, seed=seed)


def transformer_body(
    spec: Pretrained | Fresh, source: SentenceTransformer | None, teacher_model: str | None, seed: int
) -> Body:
    """Build the body of a student that is not a token table; the arguments are those of `build_student`."""
    if isinstance(spec, Fresh):
        return fresh_body(spec, teacher_model, seed)
    if source is None:
        raise TypeError(f"a student that starts from {spec.source} needs that model as its source")
    return pretrained_body(spec, source)


def assemble(body: Body, space: Space, *, head_bias: bool, prompt: StudentPrompt, seed: int) -> Student:
    """Give ``body`` a head into ``space`` with weights drawn from ``seed``, the length of ``space``, and prompts.

    Raises `OptionError` if the tokenizer has no token that could be a ``prompt``.
    """
    prompts = choose_prompts(prompt, space, body.tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = Student.from_parts(
            body,
            space.dim,
            bias=head_bias,
            normalised=space.normalised,
            prompts=prompts,
        )
    if space.max_length is not None and student.kind == "transformer":
        student.model.max_seq_length = min(space.max_length, body.longest_input())
    return student
