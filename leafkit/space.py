"""The identity of a vector space: vectors can be compared if and only if their space ids are equal."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leafkit.errors import DamageError, SpaceError

# No embedding is wider. A width from a file decides how much memory is allocated.
WIDEST = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Space:
    """Everything that decides whether two vectors can be compared.

    teacher: a name for people. The name is not part of the identity, so that a model keeps its space when its folder
        moves or when the model is read from a hub.
    weights: the identity of the model: ``sha256:...`` of the weight files or of the vectors file, or ``name:...`` if
        the user declared a name.
    dim: the width of the vectors.
    normalised: whether all vectors have length 1.
    pooling: how token vectors become one vector, for example ``mean`` or ``cls``.
    max_length: texts are truncated to this many tokens; None means no limit.
    query_prompt, document_prompt: the string that the teacher reads before every query or document. A student may read
        others (`leafkit.prompts`).
    rotation: the name of the linear map that was applied to the teacher's vectors, or None.

    Truncating vectors to a prefix and storing them in lower precision are properties of an index in a space; they do
    not make another space.
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
        """The space id: 12 hexadecimal digits, recorded in every cache, student, index and report."""
        identity = {k: v for k, v in dataclasses.asdict(self).items() if k != "teacher"}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]

    def prompt(self, role: str) -> str:
        """Return the string put before every text of ``role``, empty if the teacher uses no prompt."""
        return self.query_prompt if role == "query" else self.document_prompt

    def to_json(self) -> dict[str, Any]:
        """Return the id and all fields for a JSON file; `from_json` reads them back."""
        return {"id": self.id, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], where: str = "a space") -> Space:
        """Return the space that `to_json` wrote; raise `DamageError` naming ``where`` if a field is invalid."""
        names = {field.name for field in dataclasses.fields(cls)}
        try:
            space = cls(**{name: fields[name] for name in names})
            space.check_types()
        except KeyError as error:
            raise DamageError(
                f"{where} does not describe a vector space (the field {error} is missing). "
                "Copy or write the file again."
            ) from error
        except TypeError as error:
            raise DamageError(
                f"{where} does not describe a vector space ({error}). Copy or write the file again."
            ) from error
        if fields.get("id") != space.id:
            raise DamageError(
                f"{where} records the space id {fields.get('id')}, but the recorded fields give {space.id}. "
                "The file was edited; copy or write the file again."
            )
        return space

    def check_types(self) -> None:
        """Raise TypeError for the first field that no space can have: of another type, or a width that is none."""
        optional: dict[str, type] = {"max_length": int, "rotation": str}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            expected = optional.get(field.name) or {"dim": int, "normalised": bool}.get(field.name, str)
            if type(value) is not expected and not (value is None and field.name in optional):
                raise TypeError(f"{field.name} is {value!r}")
        if not 1 <= self.dim <= WIDEST:
            raise TypeError(f"dim is {self.dim}")

    def difference(self, other: Space) -> str | None:
        """Return the name of the first field that differs, or None if the spaces are the same."""
        for field in dataclasses.fields(self):
            if field.name != "teacher" and getattr(self, field.name) != getattr(other, field.name):
                return field.name
        return None


def require_same(expected: Space, got: Space, *, expected_by: str, got_from: str, measured: str = "") -> None:
    """Raise `SpaceError` naming the first field that differs, unless ``expected`` and ``got`` are the same space.

    expected_by, got_from: what the message calls the owners of the two spaces, for example ``the index docs.index``.
    measured: a sentence that the message says about their vectors.
    """
    field = expected.difference(got)
    if field is None:
        return
    raise SpaceError(
        f"{got_from} does not belong to the vector space of {expected_by}: {field} is {getattr(got, field)!r}; "
        f"expected {getattr(expected, field)!r}.\n"
        f"  {expected_by}: {describe(expected)}\n  {got_from}: {describe(got)}\n"
        f"{measured}{' ' if measured else ''}"
        "Use a student and an index of the same teacher, prompts and maximum length, or rebuild one of them. If both "
        "come from the same model (read from other files or through an API), declare that with --teacher-space STUDENT."
    )


def describe(space: Space) -> str:
    """Return one line for people: id, teacher, width, pooling, normalisation, length, prompts and rotation."""
    length = space.max_length or "any"
    prompts = [f"{role} prompt {space.prompt(role)!r}" for role in ("query", "document") if space.prompt(role)]
    parts = [f"{space.dim}-d", space.pooling, "unit-norm" if space.normalised else "not normalised"]
    rotation = [f"rotation {space.rotation}"] if space.rotation else []
    return f"{space.id} ({space.teacher}, {', '.join([*parts, f'length {length}', *prompts, *rotation])})"
