"""The folder of a finished student: plain sentence-transformers, and leafkit.json with its space and history."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.errors import DamageError, InputError
from leafkit.files.atomic import write_json
from leafkit.files.digest import sha256_file
from leafkit.shipped import resolve_student, shipped_hint
from leafkit.space import Space

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from leafkit.students.encoder import StudentEncoder
    from leafkit.vectors.mapping import LinearMap

MARKER = "leafkit.json"
FORMAT, VERSION = "leafkit-student", 1


@dataclass(frozen=True, kw_only=True)
class StudentFacts:
    """What a student's leafkit.json says.

    ``head_width`` is how many numbers its head sees; ``weights`` maps each weight file to its SHA-256;
    ``training`` is how it came to be (recipe, data, validation); ``raw`` is the whole file.
    """

    path: Path
    space: Space
    head_width: int
    weights: dict[str, str]
    training: dict[str, Any]
    raw: dict[str, Any]

    @property
    def runtime_only(self) -> bool:
        """Whether the folder was left with ONNX files alone, as a student that ships is."""
        exported = (self.path / "onnx" / "export.json").is_file()
        return exported and not any((self.path / name).is_file() for name in self.weights)


def write_student(
    folder: Path,
    model: SentenceTransformer,
    space: Space,
    training: dict[str, Any],
    mapping: LinearMap | None = None,
) -> StudentFacts:
    """Fill ``folder`` with the student, so that plain SentenceTransformer(folder) gives the same vectors.

    ``mapping`` is what makes the coordinates of ``space``, where they are not the teacher's own.
    """
    from leafkit.students.backbone import quiet
    from leafkit.students.build import head_position
    from leafkit.students.readers import write_for_readers

    with quiet(), _full_disk_as_such(folder):
        model.save_pretrained(str(folder), create_model_card=False)
    _build_without_pooler(folder, model)
    write_for_readers(folder, model)
    if mapping is not None:
        mapping.save(folder)
    weights = {file.relative_to(folder).as_posix(): sha256_file(file) for file in sorted(folder.rglob("*.safetensors"))}
    write_json(
        folder / MARKER,
        {
            "format": FORMAT,
            "version": VERSION,
            "space": space.to_json(),
            "head_width": model[head_position(model)].in_features,
            "weights": weights,
            "training": training,
        },
    )
    return read_student(folder)


def read_student(path: str | Path) -> StudentFacts:
    """The facts of the student in folder ``path`` (or of that name, for one that ships), without loading it.

    Raises `InputError` if there is no student, `DamageError` if leafkit.json does not describe one.
    """
    folder = resolve_student(path)
    file = folder / MARKER
    if not file.is_file():
        raise InputError(
            f"{folder} holds no student (no {MARKER} in it); leafkit distill makes one{shipped_hint(folder)}"
        )
    try:
        raw = json.loads(file.read_bytes())
        if (raw["format"], raw["version"]) != (FORMAT, VERSION):
            raise DamageError(f"{file} is of {raw['format']} version {raw['version']}, wanted {FORMAT} {VERSION}")
        return StudentFacts(
            path=folder,
            space=Space.from_json(raw["space"], where=str(file)),
            head_width=int(raw["head_width"]),
            weights={str(name): str(digest) for name, digest in raw["weights"].items()},
            training=dict(raw["training"]),
            raw=raw,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(f"{file} does not describe a student ({error!r}); distil it again") from error


def open_student(path: str | Path, device: str | None = None) -> StudentEncoder:
    """The student in folder ``path`` as an encoder over torch, its weight files checked against leafkit.json."""
    from leafkit.students.encoder import StudentEncoder

    facts = read_student(path)
    if facts.runtime_only:
        raise InputError(
            f"{facts.path} holds what a query host needs and no torch weights; it can search (--encoder), go into an "
            "index (--student), be trained on (leafkit distill --student), be evaluated with --encoder onnx-int8 and "
            "be opened as leafkit.QueryEncoder"
        )
    check_weights(facts)
    return StudentEncoder.open(facts, device)


def check_weights(facts: StudentFacts) -> None:
    """Nothing if every weight file is the one that was written; raises `DamageError` naming the first that is not."""
    for name, digest in facts.weights.items():
        file = facts.path / name
        if not file.is_file():
            raise DamageError(f"{file} is missing; copy the whole student folder again, or distil it again")
        if sha256_file(file) != digest:
            raise DamageError(f"{file} is truncated or changed (its SHA-256 differs); copy the folder again")


@contextlib.contextmanager
def _full_disk_as_such(folder: Path) -> Iterator[None]:
    """Turn safetensors' own error about a full disk into the system's, which `leafkit.files.atomic` knows."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        if f"os error {errno.ENOSPC}" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error


def _build_without_pooler(folder: Path, model: SentenceTransformer) -> None:
    """Have plain sentence-transformers build BERT without the pooler, instead of adding random weights nobody uses."""
    from leafkit.students.backbone import spare_pooler

    file = folder / "sentence_bert_config.json"
    if type(model[0]).__name__ != "Transformer" or not spare_pooler(model[0].model):
        return
    config = json.loads(file.read_bytes())
    config["model_kwargs"] = {**config.get("model_kwargs", {}), "add_pooling_layer": False}
    write_json(file, config)
