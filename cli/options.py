"""Options that several commands share; each has one name, one help text and one meaning everywhere."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leafkit.teachers.options import TeacherOptions

if TYPE_CHECKING:
    from leafkit.types import Teacher as OpenTeacher

Teacher = Annotated[
    str,
    typer.Option(
        help="The teacher: a sentence-transformers folder or hub id, an ONNX folder, a vectors file (.parquet, a "
        "folder of them, or .npy beside .jsonl) or package:NAME, a model inside an installed Python package.",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that leafkit wrote before.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Cache = Annotated[
    Path | None,
    typer.Option(help="Folder of teacher vectors already computed  [default: $LEAFKIT_CACHE or ~/.cache/leafkit]"),
]


def _take_recipe(context: typer.Context, path: Path | None) -> Path | None:
    """Have the recipe's values stand for the options that are not given, required ones among them."""
    if path is not None:
        from leafkit.training.recipe_file import read_options

        context.default_map = {**(context.default_map or {}), **read_options(path)}
    return path


Recipe = Annotated[
    Path | None,
    typer.Option(
        help="A TOML file with options of this command, e.g. learning_rate = 3e-4, that hold where none is given here.",
        callback=_take_recipe,
        is_eager=True,
    ),
]


def option(panel: str, meaning: str, *names: str) -> Any:
    """An option that `leafkit COMMAND --help` shows under the heading ``panel``."""
    return typer.Option(*names, help=meaning, rich_help_panel=panel)


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How rows of texts are read."""

    text_column: Annotated[str | None, option("Reading texts", "Column of the text  [default: text]")] = None
    id_column: Annotated[str | None, option("Reading texts", "Column of the id  [default: _id or id]")] = None
    skip_bad: Annotated[
        bool, option("Reading texts", "Leave out rows that cannot be read, and count them.", "--skip-bad")
    ] = False


@dataclass(frozen=True, kw_only=True)
class TeacherFlags:
    """How the teacher is opened: the fields of `TeacherOptions`, which says what each accepts."""

    compute: Annotated[
        str,
        option(
            "The teacher",
            "Its arithmetic: auto (bfloat16 where the hardware has it), float32, bfloat16 or float16.",
        ),
    ] = "auto"
    teacher_batch_size: Annotated[
        int | None, option("The teacher", "Texts encoded at once, at most  [default: chosen by length]")
    ] = None
    teacher_name: Annotated[
        str | None,
        option(
            "The teacher",
            "Identity to record instead of a hash of the weights or the vectors file. Use one name for all copies of "
            "one model, e.g. openai/text-embedding-3-small.",
        ),
    ] = None
    teacher_space: Annotated[
        str | None,
        option(
            "The teacher",
            "A student, by folder or name, in whose space the vectors are by your word: those of an API or another "
            "tool, or of another copy of the model. Checked on some texts.",
        ),
    ] = None
    max_length: Annotated[int | None, option("The teacher", "Tokens it reads of a text  [default: its own]")] = None
    query_prompt: Annotated[str | None, option("The teacher", "Text put before every query  [default: its own]")] = None
    document_prompt: Annotated[
        str | None, option("The teacher", "Text put before every document  [default: its own]")
    ] = None
    pooling: Annotated[str | None, option("The teacher", "mean or cls, for an ONNX folder that does not say.")] = None
    normalised: Annotated[
        bool | None,
        option("The teacher", "Whether its vectors are unit-norm  [default: found out]", "--normalised/--unnormalised"),
    ] = None
    device: Annotated[str | None, option("The teacher", "cpu, cuda, cuda:1, mps  [default: the best there is]")] = None
    trust_remote_code: Annotated[
        bool, option("The teacher", "Run Python code that comes with the model.", "--trust-remote-code")
    ] = False
    revision: Annotated[str | None, option("The teacher", "Commit or tag of a model on a hub.")] = None

    def chosen(self) -> TeacherOptions:
        """The options as the toolkit takes them."""
        return TeacherOptions(**dataclasses.asdict(self))

    def open(self, teacher: str) -> OpenTeacher:
        """The teacher that ``teacher`` names, opened with these options."""
        from leafkit.teachers.open import open_teacher

        return open_teacher(teacher, **dataclasses.asdict(self.chosen()))


def spread_options(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` for typer: a parameter that is a dataclass becomes one option for each of its fields."""
    parameters = inspect.signature(command, eval_str=True).parameters
    groups = {name: p.annotation for name, p in parameters.items() if dataclasses.is_dataclass(p.annotation)}
    spread = [p for name, p in parameters.items() if name not in groups]
    for group in groups.values():
        spread += inspect.signature(group, eval_str=True).parameters.values()

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        for name, group in groups.items():
            fields = [field.name for field in dataclasses.fields(group)]
            arguments[name] = group(**{field: arguments.pop(field) for field in fields})
        command(**arguments)

    by_keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in spread]
    run.__signature__ = inspect.Signature(by_keyword)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in by_keyword}
    return run
