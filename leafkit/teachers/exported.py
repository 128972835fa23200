"""The ONNX folder of a teacher that leafkit exported: its record, which names its space, and the check of its files.

An ONNX folder from elsewhere has a space of its own, made from a hash of its graph. A folder that leafkit exported was
compared with the teacher before it was written. It therefore belongs to the teacher's own space.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from leafkit.errors import DamageError
from leafkit.files.atomic import write_json
from leafkit.files.digest import sha256_file
from leafkit.files.json_file import explain_invalid, read_json_object
from leafkit.space import Space
from leafkit.teachers.options import TeacherOptions, check_space_options
from leafkit.types import Encoder
from leafkit.vectors.fingerprint import Fingerprint, read_fingerprint, take_fingerprint

MARKER, GRAPH, TOKENIZER = "teacher.json", "onnx/model.onnx", "tokenizer.json"
FORMAT, VERSION = "leafkit-teacher", 1
# Golden texts that are encoded when the folder is opened: enough to notice a processor that computes otherwise.
CHECKED = 4
_ADVICE = "Copy the folder again, or run leafkit export --teacher again."


@dataclass(frozen=True, kw_only=True)
class ExportedTeacher:
    """The content of teacher.json.

    space: the space of the teacher, whose vectors the graph writes.
    files: the SHA-256 of every file that decides a vector, by its path within the folder.
    """

    space: Space
    files: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> ExportedTeacher:
        """Read the record in ``folder`` and check its files; raises `DamageError` if one is missing or changed."""
        file = folder / MARKER
        with explain_invalid(file, expected="the record of an exported teacher", advice=_ADVICE):
            raw = read_json_object(file)
            if (raw["format"], raw["version"]) != (FORMAT, VERSION):
                raise ValueError(f"format {raw['format']} version {raw['version']}; expected {FORMAT} {VERSION}")
            files = {str(name): str(digest) for name, digest in raw["files"].items()}
            if not {GRAPH, TOKENIZER} <= files.keys() or any(not _is_inside(name) for name in files):
                raise ValueError(f"the files are {sorted(files)}; expected {GRAPH}, {TOKENIZER} and others beside them")
            record = cls(space=Space.from_json(raw["space"], where=str(file)), files=files)
        for name, digest in files.items():
            if not (folder / name).is_file() or sha256_file(folder / name) != digest:
                raise DamageError(f"{folder / name} is missing, truncated or changed (its SHA-256 differs). {_ADVICE}")
        return record

    @classmethod
    def write(cls, folder: Path, space: Space, files: Iterable[Path]) -> None:
        """Write the record of ``files`` in ``folder``, whose graph writes vectors of ``space``."""
        hashes = {file.relative_to(folder).as_posix(): sha256_file(file) for file in sorted(files)}
        write_json(folder / MARKER, {"format": FORMAT, "version": VERSION, "space": space.to_json(), "files": hashes})

    def opened(self, folder: Path, options: TeacherOptions) -> Space:
        """Return the space of the teacher in ``folder`` when opened with ``options``.

        Prompts, a smaller length limit and a name may be set, because they are outside the graph. Raises `OptionError`
        for an option that contradicts the graph.
        """
        names = ("pooling", "normalised") if self._is_shorter(options) else ("pooling", "normalised", "max_length")
        fixed = TeacherOptions(**{name: getattr(options, name) for name in names})
        check_space_options(self.space, fixed, source=str(folder))
        return replace(
            self.space,
            **options.identity(self.space.teacher, self.space.weights),
            **options.prompts({"query": self.space.query_prompt, "document": self.space.document_prompt}),
            max_length=options.max_length or self.space.max_length,
        )

    def _is_shorter(self, options: TeacherOptions) -> bool:
        limit = self.space.max_length
        return options.max_length is not None and (limit is None or options.max_length <= limit)

    def check(self, folder: Path, teacher: Encoder) -> None:
        """Raise `DamageError` unless ``teacher``, opened as recorded, writes the vectors of the fingerprint here."""
        recorded = read_fingerprint(folder, self.space)
        if recorded is None:
            raise DamageError(f"{folder} has no fingerprint. {_ADVICE}")
        some = Fingerprint(space=self.space, texts=recorded.texts[:CHECKED], vectors=recorded.vectors[:CHECKED])
        try:
            agreement = some.agreement(take_fingerprint(teacher, some.texts))
        except Exception as error:  # a graph of another width or with other inputs raises errors of many types
            raise DamageError(f"{folder} cannot encode its golden texts: {error}. {_ADVICE}") from error
        if agreement is None or not agreement.is_same_space:
            raise DamageError(
                f"{folder} writes other vectors on this machine than where it was exported ({agreement}). "
                "Export the teacher again on this machine."
            )


def _is_inside(name: str) -> bool:
    """Tell whether ``name`` is a plain path of at most two parts below a folder."""
    parts = name.split("/")
    return len(parts) <= 2 and all(part not in ("", ".", "..") and "\\" not in part for part in parts)
