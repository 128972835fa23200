"""A table of experiments as its TOML file says it: one base, and variants that each change something of it."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from leafkit.errors import InputError, LeafkitError, OptionError, nearest
from leafkit.evaluation.modes import MODES
from leafkit.methods.plan import make_plan
from leafkit.students.spec import parse_student
from leafkit.teachers.options import TeacherOptions
from leafkit.training.recipe import Recipe

BASE = "base"
Kind = Literal["distill", "sentence-transformers", "model2vec"]
KINDS: tuple[Kind, ...] = ("distill", "sentence-transformers", "model2vec")
"""Who makes the student: `leafkit.distill`, the sentence-transformers trainer on the same start, or model2vec."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which texts are used: the first so many of each role in ``files``, none longer than ``longest`` characters.

    ``held_out`` texts of ``valid`` are chosen alike, half of each role. None means all.
    """

    files: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    queries: int | None = None
    documents: int | None = None
    longest: int | None = None
    held_out: int | None = None


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What students are measured on besides the held-out texts: judgements ``split`` of the BEIR folders ``data``."""

    data: tuple[str, ...] = ()
    split: str = "dev"
    modes: tuple[str, ...] = ("asymmetric",)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the table. ``changes`` is what its TOML says.

    With ``seconds`` of ``base`` its epochs give way to as many as fit into the time that the base takes. ``feeds`` are
    the systems that choose its texts.
    """

    name: str
    changes: dict[str, Any]
    teacher: str
    teacher_options: TeacherOptions
    student: str
    recipe: Recipe
    texts: Choice
    kind: Kind = "distill"
    seconds: Literal["base"] | None = None
    feeds: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """A whole table; the first of ``variants`` is the base."""

    seeds: tuple[int, ...]
    measure: Measure
    variants: tuple[Variant, ...]


def read_table(path: Path, given: Mapping[str, Any] | None = None) -> Table:
    """The table in ``path``; ``given`` (teacher, files, valid, data, seeds) takes the place of what it says.

    Raises `InputError` for a file that is no TOML, `OptionError` naming variant and field for what cannot be run.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table of experiments: {error}") from error
    given = {name: value for name, value in (given or {}).items() if value}
    _check(raw, ("seeds", "texts", BASE, "measure", "variants"), where=str(path))
    base, texts, measure = (dict(raw.get(name, {})) for name in (BASE, "texts", "measure"))
    base |= {name: given[name] for name in ("teacher",) if name in given}
    texts |= {name: given[name] for name in ("files", "valid") if name in given}
    measure |= {name: given[name] for name in ("data",) if name in given}
    named = {BASE: {}, **raw.get("variants", {})}
    return Table(
        seeds=tuple(given.get("seeds") or raw.get("seeds") or (0, 1, 2)),
        measure=_measure(measure),
        variants=tuple(_variant(name, base, changes, texts) for name, changes in named.items()),
    )


def _measure(fields: dict[str, Any]) -> Measure:
    measure: Measure = _made(Measure, fields, where="measure")
    if unknown := [mode for mode in measure.modes if mode not in MODES[1:]]:
        raise OptionError(f"measure: unknown mode {unknown[0]!r}; wanted standard, asymmetric or both")
    return measure


def _variant(name: str, base: dict[str, Any], changes: dict[str, Any], texts: dict[str, Any]) -> Variant:
    own = ("teacher", "student", "kind", "seconds", "texts", "teacher_options", "feeds")
    recipe = [field.name for field in dataclasses.fields(Recipe) if field.name != "seed"]
    fields = {**base, **changes}
    _check(fields, (*own, *recipe), where=name)
    if missing := [wanted for wanted in ("teacher", "student") if wanted not in fields]:
        raise OptionError(f"{name}: there is no {missing[0]}; give one in [{BASE}]")
    if (kind := fields.get("kind", KINDS[0])) not in KINDS:
        raise OptionError(f"{name}: unknown kind {kind!r}; wanted one of {', '.join(KINDS)}")
    if (seconds := fields.get("seconds")) not in ((None,) if name == BASE else (None, BASE)):
        raise OptionError(f"{name}: seconds is {seconds!r}; wanted {BASE!r}, in a variant alone")
    if not isinstance(feeds := fields.get("feeds", []), list):
        raise OptionError(f"{name}: feeds is {feeds!r}; wanted a list")
    if feeds and (kind != KINDS[0] or seconds):
        raise OptionError(f"{name}: feeds are for leafkit's own training, and for as many epochs as are given")
    try:
        parse_student(fields["student"])
        make_plan(feeds=feeds)
    except LeafkitError as error:
        raise OptionError(f"{name}: {error}") from error
    return Variant(
        name=name,
        changes=changes,
        teacher=fields["teacher"],
        teacher_options=_made(TeacherOptions, fields.get("teacher_options", {}), where=name),
        student=fields["student"],
        recipe=_made(Recipe, {key: value for key, value in fields.items() if key in recipe}, where=name),
        texts=_made(Choice, {**texts, **changes.get("texts", {})}, where=f"{name}: texts"),
        kind=kind,
        seconds=seconds,
        feeds=tuple(feeds),
    )


def _made(kind: Any, fields: Mapping[str, Any], *, where: str) -> Any:
    """``kind`` with these fields, lists as tuples; an error names ``where``."""
    _check(fields, [field.name for field in dataclasses.fields(kind)], where=where)
    try:
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
    except (LeafkitError, TypeError) as error:
        raise OptionError(f"{where}: {error}") from error


def _check(fields: Iterable[str], known: Iterable[str], *, where: str) -> None:
    known = list(known)
    for name in fields:
        if name not in known:
            raise OptionError(f"{where}: unknown field {name!r}; {nearest(name, known)}")
