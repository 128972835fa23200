"""A finished student as an encoder over torch; the search host uses `leafkit.search.query_encoder` instead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from leafkit.errors import DamageError, InputError
from leafkit.prompts import Prompts, describe_prompts
from leafkit.space import Space
from leafkit.students.folder import VERSION_WITH_PROMPTS, StudentFacts, check_files, read_student
from leafkit.types import Float32, Role, check_role

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from leafkit.search.query_encoder import QueryEncoder
    from leafkit.students.student import Student

# The numbers of a model that may be missing from its weights: a pooler, tables of positions. 256 MB in float32.
MARGIN = 1 << 26


def open_student(path: str | PathLike[str], device: str | None = None) -> StudentEncoder:
    """Open the student at ``path`` as an encoder on ``device``, after checking its files against leafkit.json.

    Raises `InputError` if the folder holds no student or no torch weights, and `DamageError` if its files are damaged.
    """
    facts = read_student(path)
    if facts.runtime_only:
        raise InputError(
            f"{facts.path} holds only what a search host needs and no torch weights. Use it to search (--encoder), in "
            "an index (--student), as the start of a training (leafkit distill --student), in an evaluation with "
            "--encoder onnx-int8, or open it as leafkit.QueryEncoder. To read the weights back from the ONNX file: "
            f"leafkit export {path} --out FOLDER"
        )
    check_files(facts)
    return StudentEncoder.open(facts, device)


def open_any_student(path: str | PathLike[str], device: str | None = None) -> StudentEncoder | QueryEncoder:
    """Open the student at ``path`` with torch on ``device``, or with onnxruntime if its folder has ONNX files alone.

    Raises as `open_student` and `QueryEncoder.open` do.
    """
    from leafkit.search.query_encoder import QueryEncoder

    facts = read_student(path)
    return QueryEncoder.open(facts.path) if facts.runtime_only else open_student(path, device)


class StudentEncoder:
    """An encoder that runs a ``student``. Its vectors lie in the teacher's space, close to the teacher's own."""

    signals = frozenset({"embeddings", "online"})
    # A student's vectors must never be cached as the teacher's own.
    approximate = True

    def __init__(self, student: Student, space: Space, prompts: Prompts | None = None) -> None:
        """Encode into ``space`` with ``student``, and with ``prompts`` in place of the student's if they are given."""
        student.model.eval()
        self.student = student
        self.space = space
        self.prompts = student.prompts if prompts is None else prompts

    @classmethod
    def open(cls, facts: StudentFacts, device: str | None = None) -> StudentEncoder:
        """Load the student of ``facts`` on ``device``; raise `DamageError` if its files do not load."""
        from sentence_transformers import SentenceTransformer

        from leafkit.students.source import quiet_transformers
        from leafkit.students.student import Student

        try:
            _check_size(facts.path)
            with quiet_transformers():
                model = SentenceTransformer(str(facts.path), device=device, local_files_only=True)
                model.encode(
                    ["a"], show_progress_bar=False
                )  # modules of widths that do not fit load, but cannot encode
        except Exception as error:  # damaged files make the loaders raise errors of many classes
            raise DamageError(
                f"the student in {facts.path} cannot be loaded: {error}. Copy its folder again, or distil it again."
            ) from error
        if model.get_embedding_dimension() != facts.space.dim:
            raise DamageError(
                f"the model in {facts.path} gives vectors of {model.get_embedding_dimension()} components, but its "
                f"leafkit.json says {facts.space.dim}: the folder mixes two students. Distil the student again."
            )
        student = Student(model)
        if facts.version == VERSION_WITH_PROMPTS and student.prompts != facts.prompts:
            raise DamageError(
                f"the model in {facts.path} reads the prompts {describe_prompts(student.prompts)}, but its "
                f"leafkit.json says {describe_prompts(facts.prompts)}: the folder "
                "mixes two students. Distil the student again."
            )
        return cls(student, facts.space, facts.prompts)

    @property
    def model(self) -> SentenceTransformer:
        """The sentence-transformers model of the student."""
        return self.student.model

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of ``texts``, shape (rows, dim), float32, in the order given."""
        prompt = self.prompts[check_role(role)]
        vectors = self.model.encode(list(texts), prompt=prompt or None, convert_to_numpy=True, show_progress_bar=False)
        return vectors.reshape(len(texts), self.space.dim)


def _check_size(folder: Path) -> None:
    """Raise ValueError if config.json describes a transformer much larger than its weights: it would fill the memory.

    The model is built without memory for its numbers. Three times the numbers of the file are allowed, because a model
    may be a part of what config.json describes, such as the encoder of T5.
    """
    import torch
    from safetensors import safe_open
    from transformers import AutoConfig, AutoModel

    if not (folder / "model.safetensors").is_file():
        return
    with safe_open(str(folder / "model.safetensors"), framework="numpy") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - no dict
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    for name, value in config.to_dict().items():
        if "layer" in name and isinstance(value, int) and value > len(shapes):
            raise ValueError(f"config.json says {name} {value}, but the weights have {len(shapes)} tensors")
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    needed = sum(values.numel() for values in (*model.parameters(), *model.buffers()))
    stored = sum(math.prod(shape) for shape in shapes)
    if needed > 3 * stored + MARGIN:
        raise ValueError(f"config.json describes a model of {needed} numbers, but the weights have {stored}")
