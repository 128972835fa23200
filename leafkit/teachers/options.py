"""Options for opening a teacher and for writing its vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from leafkit.errors import OptionError
from leafkit.options import Option, Options
from leafkit.space import Space
from leafkit.teachers.api_options import ApiOptions
from leafkit.vectors.store import DTYPES

Compute = Literal["auto", "float32", "bfloat16", "float16"]
POOLINGS = ("mean", "cls")
GRAPHS = ("onnx/model.onnx", "model.onnx")  # where an ONNX folder holds its graph


@dataclass(frozen=True, kw_only=True)
class TeacherOptions(ApiOptions):
    """How a teacher is opened. The defaults leave everything as the teacher itself defines it."""

    panel: ClassVar[str] = "The teacher"

    compute: Annotated[
        Compute,
        Option(
            "Precision of the teacher: auto (bfloat16 where the hardware supports it), float32, bfloat16 or float16."
        ),
    ] = "auto"
    teacher_batch_size: Annotated[
        int | None,
        Option("Largest number of texts in one forward pass of the teacher.", none="chosen by length", at_least=1),
    ] = None
    max_length: Annotated[
        int | None,
        Option("Truncate the teacher's texts to this many tokens.", none="the teacher's own limit", at_least=1),
    ] = None
    teacher_name: Annotated[
        str | None,
        Option(
            "Identity of the vector space. Use one name for all copies of one model, e.g. "
            "openai/text-embedding-3-small.",
            none="a hash of the weights or of the vectors file",
        ),
    ] = None
    teacher_space: Annotated[
        str | None,
        Option(
            "Declare that the vectors belong to the vector space of this student (folder or name), e.g. because they "
            "come from an API or another copy of the same model. leafkit checks the claim on a sample of texts.",
            none="none",
        ),
    ] = None
    query_prompt: Annotated[str | None, Option("Text put before every query.", none="the teacher's own prompt")] = None
    document_prompt: Annotated[
        str | None, Option("Text put before every document.", none="the teacher's own prompt")
    ] = None
    pooling: Annotated[
        str | None,
        Option("Pooling of an ONNX folder that records none: mean or cls.", none="as recorded", choices=POOLINGS),
    ] = None
    normalised: Annotated[
        bool | None,
        Option("Whether the vectors have unit length.", none="detected", flags=("--normalised/--unnormalised",)),
    ] = None
    device: Annotated[str | None, Option("Device of torch: cpu, cuda, cuda:1, mps.", none="the best available")] = None
    trust_remote_code: Annotated[
        bool,
        Option(
            "Run Python code that comes with the model. Use it only for models whose code you have read.",
            flags=("--trust-remote-code",),
        ),
    ] = False
    revision: Annotated[str | None, Option("Commit, tag or branch of a model on a hub.", none="the newest")] = None

    def refuse(self, names: Iterable[str], *, kind: str) -> None:
        """Raise `OptionError` if any option of ``names`` was set, because it does not apply to ``kind`` of teacher."""
        unused = sorted(self.given() & set(names))
        if unused:
            raise OptionError(f"{unused[0]} does not apply to {kind}. Remove the option.")

    def prompts(self, known: Mapping[str, str | None]) -> dict[str, str]:
        """Return the prompt fields of a space: the options, or else the model's own prompts, ``known`` by role."""
        query = known.get("query")
        # Older models call a document a passage.
        document = known.get("document") or known.get("passage")
        return {
            "query_prompt": (query or "") if self.query_prompt is None else self.query_prompt,
            "document_prompt": (document or "") if self.document_prompt is None else self.document_prompt,
        }

    def identity(self, name: str, weights: str) -> dict[str, str]:
        """Return the name and identity fields of a space: ``teacher_name`` if set, else ``name`` and ``weights``."""
        if self.teacher_name is not None:
            return {"teacher": self.teacher_name, "weights": f"name:{self.teacher_name}"}
        return {"teacher": name, "weights": weights}


@dataclass(frozen=True, kw_only=True)
class EmbedOptions(Options):
    """How vectors are written to a file."""

    panel: ClassVar[str] = "Vectors"

    precision: Annotated[
        str, Option("Precision of the file: float16, as in the cache, or float32.", choices=DTYPES)
    ] = "float16"


def check_space_options(space: Space, options: TeacherOptions, *, source: str) -> None:
    """Raise `OptionError` if an option contradicts the space that ``source`` already records."""
    for name in ("max_length", "query_prompt", "document_prompt", "pooling", "normalised"):
        if name in options.given() and getattr(options, name) != getattr(space, name):
            raise OptionError(
                f"{source} records the {name} {getattr(space, name)!r}, but the option is "
                f"{getattr(options, name)!r}. Remove the option, or set teacher_name as well to name another space."
            )
