"""What may be said about a teacher when it is opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from leafkit.errors import OptionError
from leafkit.space import Space

Compute = Literal["auto", "float32", "bfloat16", "float16"]
POOLINGS = ("mean", "cls")
GRAPHS = ("onnx/model.onnx", "model.onnx")  # where an ONNX folder holds its graph


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """The keyword arguments of `leafkit.open_teacher`; None, "auto" and False mean: as the teacher says."""

    compute: Compute = "auto"
    teacher_batch_size: int | None = None
    max_length: int | None = None
    teacher_name: str | None = None
    teacher_space: str | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    pooling: str | None = None
    normalised: bool | None = None
    device: str | None = None
    trust_remote_code: bool = False
    revision: str | None = None

    def __post_init__(self) -> None:
        """Raise `OptionError` for a value outside what an option accepts."""
        if self.compute not in ("auto", "float32", "bfloat16", "float16"):
            raise OptionError(f"unknown compute {self.compute!r}: choose auto, float32, bfloat16 or float16")
        if self.pooling is not None and self.pooling not in POOLINGS:
            raise OptionError(f"unknown pooling {self.pooling!r}: choose mean or cls")
        for name in ("teacher_batch_size", "max_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} is {value}; wanted 1 or more")

    def given(self) -> set[str]:
        """Names of the options that were set."""
        return {field.name for field in dataclasses.fields(self) if getattr(self, field.name) != field.default}

    def refuse(self, names: Iterable[str], *, kind: str) -> None:
        """Raise `OptionError` if any option of ``names`` was set, since it means nothing to ``kind``."""
        idle = sorted(self.given() & set(names))
        if idle:
            raise OptionError(f"{idle[0]} means nothing to {kind}; leave it out")

    def prompts(self, known: Mapping[str, str | None]) -> dict[str, str]:
        """The prompt fields of a space: as given, else from a model's own ``known`` prompts by role."""
        query = known.get("query")
        # "passage" is what older models call a document
        document = known.get("document") or known.get("passage")
        return {
            "query_prompt": (query or "") if self.query_prompt is None else self.query_prompt,
            "document_prompt": (document or "") if self.document_prompt is None else self.document_prompt,
        }

    def identity(self, name: str, weights: str) -> dict[str, str]:
        """The name and identity fields of a space: as declared by ``teacher_name``, else those given here."""
        if self.teacher_name is not None:
            return {"teacher": self.teacher_name, "weights": f"name:{self.teacher_name}"}
        return {"teacher": name, "weights": weights}


def check_space_options(space: Space, options: TeacherOptions, *, source: str) -> None:
    """Raise `OptionError` if an option contradicts the space that ``source`` already records."""
    for name in ("max_length", "query_prompt", "document_prompt", "pooling", "normalised"):
        if name in options.given() and getattr(options, name) != getattr(space, name):
            raise OptionError(
                f"{source} records {name} {getattr(space, name)!r}, got {getattr(options, name)!r}; leave the option "
                "out, or give teacher_name as well to describe the vectors anew"
            )
