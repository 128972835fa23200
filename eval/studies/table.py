"""The table of a study, read from TOML: one base, and variants that each change some of its options."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from leafkit.errors import InputError, LeafkitError, OptionError, nearest
from leafkit.evaluation.modes import MODES
from leafkit.methods.plan import make_plan
from leafkit.students.spec import parse_student
from leafkit.teachers.options import TeacherOptions
from leafkit.training.recipe import Recipe

BASE = "base"
Kind = Literal["distill", "sentence-transformers", "model2vec"]
KINDS: tuple[Kind, ...] = ("distill", "sentence-transformers", "model2vec")
"""What makes the student: `leafkit.distill`, the sentence-transformers trainer from the same start, or model2vec."""

_Built = TypeVar("_Built")


@dataclass(frozen=True, kw_only=True)
class TextSelection:
    """Which texts of ``files`` to train on: the first ``queries`` and ``documents``, at most ``longest`` characters.

    ``held_out`` texts of ``valid`` are selected in the same way, half of each role. None means no limit.
    """

    files: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    queries: int | None = None
    documents: int | None = None
    longest: int | None = None
    held_out: int | None = None


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What to measure besides cosines on held-out texts: nDCG@10 on ``split`` of the BEIR folders ``data``."""

    data: tuple[str, ...] = ()
    split: str = "dev"
    modes: tuple[str, ...] = ("asymmetric",)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the table. ``changes`` is what the TOML file says about it.

    If ``seconds`` is ``base``, the variant trains for as many epochs as fit into the training time of the base.
    ``feeds`` are distillation methods that choose the texts.
    """

    name: str
    changes: dict[str, Any]
    teacher: str
    teacher_options: TeacherOptions
    student: str
    recipe: Recipe
    texts: TextSelection
    kind: Kind = "distill"
    seconds: Literal["base"] | None = None
    feeds: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StudyTable:
    """A table; the first of ``variants`` is the base."""

    seeds: tuple[int, ...]
    measure: Measures
    variants: tuple[Variant, ...]


def read_table(path: Path, overrides: Mapping[str, Any] | None = None) -> StudyTable:
    """Read the table in ``path``. ``overrides`` (teacher, files, valid, data, seeds) replace its values.

    Raises `InputError` for a file that is not TOML, and `OptionError` naming the variant and field for bad values.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path} as the table of a study: {error}") from error
    given = {name: value for name, value in (overrides or {}).items() if value}
    _check(raw, ("seeds", "texts", BASE, "measure", "variants"), where=str(path))
    base, texts, measure = (dict(raw.get(name, {})) for name in (BASE, "texts", "measure"))
    base |= {name: given[name] for name in ("teacher",) if name in given}
    texts |= {name: given[name] for name in ("files", "valid") if name in given}
    measure |= {name: given[name] for name in ("data",) if name in given}
    changes_by_name = {BASE: {}, **raw.get("variants", {})}
    return StudyTable(
        seeds=tuple(given.get("seeds") or raw.get("seeds") or (0, 1, 2)),
        measure=_measures(measure),
        variants=tuple(_variant(name, base, changes, texts) for name, changes in changes_by_name.items()),
    )


def _measures(fields: dict[str, Any]) -> Measures:
    measures = _build(Measures, fields, where="measure")
    if unknown := [mode for mode in measures.modes if mode not in MODES[1:]]:
        raise OptionError(f"measure: mode is {unknown[0]!r}; expected standard, asymmetric or both.")
    return measures


def _variant(name: str, base: dict[str, Any], changes: dict[str, Any], texts: dict[str, Any]) -> Variant:
    fields = {**base, **changes}
    recipe = [field.name for field in dataclasses.fields(Recipe) if field.name != "seed"]
    _check_variant(name, fields, recipe)
    return Variant(
        name=name,
        changes=changes,
        teacher=fields["teacher"],
        teacher_options=_build(TeacherOptions, fields.get("teacher_options", {}), where=name),
        student=fields["student"],
        recipe=_build(Recipe, {key: value for key, value in fields.items() if key in recipe}, where=name),
        texts=_build(TextSelection, {**texts, **changes.get("texts", {})}, where=f"{name}: texts"),
        kind=fields.get("kind", KINDS[0]),
        seconds=fields.get("seconds"),
        feeds=tuple(fields.get("feeds", [])),
    )


def _check_variant(name: str, fields: dict[str, Any], recipe: list[str]) -> None:
    """Raise `OptionError` unless the study can train the variant ``name`` with ``fields``."""
    _check(fields, ("teacher", "student", "kind", "seconds", "texts", "teacher_options", "feeds", *recipe), where=name)
    if missing := [key for key in ("teacher", "student") if key not in fields]:
        raise OptionError(f"{name}: the {missing[0]} is missing. Give one in [{BASE}].")
    if (kind := fields.get("kind", KINDS[0])) not in KINDS:
        raise OptionError(f"{name}: kind is {kind!r}; expected one of {', '.join(KINDS)}.")
    if (seconds := fields.get("seconds")) not in ((None,) if name == BASE else (None, BASE)):
        raise OptionError(f"{name}: seconds is {seconds!r}; expected {BASE!r}, and only in a variant.")
    if not isinstance(feeds := fields.get("feeds", []), list):
        raise OptionError(f"{name}: feeds is {feeds!r}; expected a list.")
    if feeds and (kind != KINDS[0] or seconds):
        raise OptionError(f"{name}: feeds work only with kind = {KINDS[0]!r} and without seconds. Remove feeds.")
    try:
        parse_student(fields["student"])
        make_plan(feeds=feeds)
    except LeafkitError as error:
        raise OptionError(f"{name}: {error}") from error


def _build(kind: type[_Built], fields: Mapping[str, Any], *, where: str) -> _Built:
    """Build the dataclass ``kind`` from ``fields``, lists as tuples. An error names ``where``."""
    _check(fields, [field.name for field in dataclasses.fields(cast(Any, kind))], where=where)
    try:
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
    except (LeafkitError, TypeError) as error:
        raise OptionError(f"{where}: {error}") from error


def _check(fields: Iterable[str], known: Iterable[str], *, where: str) -> None:
    known = list(known)
    for name in fields:
        if name not in known:
            raise OptionError(f"{where}: unknown field {name!r}; {nearest(name, known)}")
