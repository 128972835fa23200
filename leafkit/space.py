"""The vector space that vectors live in. Two things work together if and only if their space ids match."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leafkit.errors import DamageError, SpaceError


@dataclass(frozen=True, kw_only=True)
class Space:
    """What makes two vectors comparable.

    ``teacher`` is a name for people: it is not part of the identity, so a model keeps its space when its
    folder moves or is read from a hub instead. ``weights`` is the identity of what made the vectors:
    ``sha256:…`` of the weight files or of the vectors file, or ``name:…`` where the user declared one.
    Prefix truncation and vector precision are properties of an index within a space, not other spaces.
    """

    teacher: str
    weights: str
    dim: int
    normalised: bool
    pooling: str
    max_length: int | None
    query_prompt: str = ""
    document_prompt: str = ""
    rotation: str | None = None

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that every cache, student, index and report carries."""
        identity = {k: v for k, v in dataclasses.asdict(self).items() if k != "teacher"}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]

    def prompt(self, role: str) -> str:
        """The text put before every text of ``role``; empty where the teacher has none."""
        return self.query_prompt if role == "query" else self.document_prompt

    def to_json(self) -> dict[str, Any]:
        """The fields and the id, ready for a JSON file; `from_json` reads it back."""
        return {"id": self.id, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], where: str = "a space") -> Space:
        """The space written by `to_json`; raises `DamageError` naming ``where`` if it is not one."""
        names = {field.name for field in dataclasses.fields(cls)}
        try:
            space = cls(**{name: fields[name] for name in names})
        except (KeyError, TypeError) as error:
            raise DamageError(f"{where} does not describe a vector space (field {error})") from error
        if fields.get("id") != space.id:
            raise DamageError(f"{where}: the space id is {fields.get('id')} but its fields give {space.id}")
        return space

    def difference(self, other: Space) -> str | None:
        """The first field that sets the two apart; None if they are the same space."""
        for field in dataclasses.fields(self):
            if field.name != "teacher" and getattr(self, field.name) != getattr(other, field.name):
                return field.name
        return None


def require_same(wanted: Space, got: Space, *, wanted_by: str, got_from: str) -> None:
    """Nothing if both are one space; raises `SpaceError` naming the first field that differs.

    ``wanted_by`` and ``got_from`` say in words who needs which space, e.g. ``the index docs.index``.
    """
    field = wanted.difference(got)
    if field is None:
        return
    raise SpaceError(
        f"{got_from} does not live in the space of {wanted_by}: {field} is {getattr(got, field)!r}, "
        f"wanted {getattr(wanted, field)!r}.\n"
        f"  {wanted_by}: {describe(wanted)}\n  {got_from}: {describe(got)}\n"
        "Use a student and an index of the same teacher, prompts and length, or rebuild one of them. If both are the "
        "same model, read from other files or through an API, say so with --teacher-space STUDENT."
    )


def describe(space: Space) -> str:
    """One line for people: id, teacher, width, length, prompts."""
    length = space.max_length or "any"
    prompts = [f"{role} prompt {space.prompt(role)!r}" for role in ("query", "document") if space.prompt(role)]
    parts = [f"{space.dim}-d", space.pooling, "unit-norm" if space.normalised else "not normalised"]
    rotation = [f"rotation {space.rotation}"] if space.rotation else []
    return f"{space.id} ({space.teacher}, {', '.join([*parts, f'length {length}', *prompts, *rotation])})"
