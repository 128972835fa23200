"""Opening a teacher of any kind: a model, an ONNX folder, a vectors file, an engine, a student or an API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from leafkit.engines.url import is_engine_url
from leafkit.errors import InputError, OptionError
from leafkit.extras import explain_missing_extras
from leafkit.files.model_folder import package_folder, torch_weight_files
from leafkit.options import fields_of, takes
from leafkit.shipped import resolve_student
from leafkit.teachers.api_options import ApiOptions
from leafkit.teachers.options import GRAPHS, TeacherOptions
from leafkit.types import Teacher
from leafkit.vectors.vectors_file import SUFFIXES, is_vectors_file

ACCEPTED = """A teacher is one of
  a sentence-transformers model: a folder with modules.json, or a hub id like owner/name
  an ONNX folder: a folder with tokenizer.json and model.onnx (or onnx/model.onnx)
  a vectors file: .parquet with columns text and vector (or embedding), a folder of such files, or .npy with a .jsonl of
  the same name
  an engine that holds texts and vectors: postgresql://HOST/DATABASE#TABLE, lancedb://FOLDER#TABLE and others; after the
  name ?text=COLUMN&vector=COLUMN for a table that leafkit did not write
  a student made by leafkit: a folder with leafkit.json
  package:NAME, a model inside an installed Python package
  api:openai/MODEL, api:cohere/MODEL, api:voyage/MODEL, api:gemini/MODEL or api:http://HOST/v1#MODEL, a model behind an
  API"""


@takes(TeacherOptions)
def open_teacher(teacher: str | Path | Teacher, **options: Any) -> Teacher:
    """Open a teacher: a model, an ONNX folder, a vectors file, an engine, a student or an API.

    An open teacher is returned unchanged.

    Raises `InputError` for anything else, and `OptionError` for an option that does not apply to this teacher.
    """
    return open_with(teacher, TeacherOptions(**options))


def open_with(teacher: str | Path | Teacher, options: TeacherOptions) -> Teacher:
    """Open ``teacher`` as `open_teacher` does, with the options as one object."""
    if not isinstance(teacher, str | Path):
        if not isinstance(teacher, Teacher):
            raise InputError(f"the teacher is of type {type(teacher).__name__}. {ACCEPTED}")
        # The device option is allowed: it also sets the device of a student in training.
        options.refuse(options.given() - {"device"}, kind="a teacher that is open already")
        return teacher
    teacher = local_teacher(teacher)
    if options.teacher_space is not None:
        from leafkit.teachers.declared_space import open_in_declared_space

        return open_in_declared_space(str(teacher), options, _open)
    return _open(str(teacher), options)


def local_teacher(teacher: str | Path) -> str | Path:
    """Return ``teacher``, or the vectors file into which its texts and vectors are read now if it is an engine."""
    if not is_engine_url(teacher):
        return teacher
    from leafkit.teachers.engine import read_engine

    return read_engine(str(teacher))


def own_texts(teacher: str | Path | Teacher) -> Path:
    """Return the source of the texts that ``teacher`` has vectors of; raises `OptionError` if it encodes any text."""
    if isinstance(teacher, str | Path) and is_vectors_file(Path(teacher)):
        return Path(teacher)
    raise OptionError(
        "no texts are given. Give files of texts, or as the teacher a vectors file or an engine, whose own texts are "
        "then used."
    )


def _open(teacher: str, options: TeacherOptions) -> Teacher:
    if teacher.startswith("api:"):
        from leafkit.teachers.api.teacher import ApiTeacher

        return ApiTeacher.open(teacher, options)
    options.refuse(fields_of(ApiOptions), kind="a teacher that is not behind an API")
    if teacher.startswith("package:"):
        options.refuse(["revision"], kind="an installed package")
        distribution = teacher.removeprefix("package:")
        return _open_model(package_folder(distribution), options, name=distribution)
    path = resolve_student(teacher)
    if path.exists():
        options.refuse(["revision"], kind="a local teacher")
        return _open_file(path, options) if path.is_file() else _open_folder(path, options)
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", teacher) and path.suffix not in (*SUFFIXES, ".jsonl"):
        return _open_model(_hub_folder(teacher, options.revision), options, name=teacher)
    raise InputError(f"{teacher} does not exist. {ACCEPTED}")


def _open_file(path: Path, options: TeacherOptions) -> Teacher:
    if not is_vectors_file(path):
        raise InputError(f"{path} is not a vectors file. {ACCEPTED}")
    return _open_vectors(path, options)


def _open_vectors(path: Path, options: TeacherOptions) -> Teacher:
    from leafkit.teachers.vectors_file import VectorsFileTeacher

    return VectorsFileTeacher.open(path, options)


def _open_folder(path: Path, options: TeacherOptions) -> Teacher:
    if (path / "leafkit.json").is_file():
        from leafkit.students.encoder import open_any_student

        options.refuse(options.given() - {"device"}, kind="a student, which records its space")
        return open_any_student(path, device=options.device)
    graph = (path / "tokenizer.json").is_file() and any((path / at).is_file() for at in GRAPHS)
    graph = graph or (path / "teacher.json").is_file()
    if (path / "modules.json").is_file() and (torch_weight_files(path) or not graph):
        return _open_model(path, options, name=path.resolve().name)
    if graph:
        from leafkit.teachers.onnx_folder import OnnxTeacher

        return OnnxTeacher.open(path, options)
    if is_vectors_file(path):
        return _open_vectors(path, options)
    raise InputError(f"{path} does not contain a teacher. {ACCEPTED}")


def _open_model(folder: Path, options: TeacherOptions, *, name: str) -> Teacher:
    with explain_missing_extras():
        from leafkit.teachers.sentence_transformer import SentenceTransformerTeacher
    return SentenceTransformerTeacher.open(folder, options, name=name)


def _hub_folder(name: str, revision: str | None) -> Path:
    """Download a hub model and return its local folder. If HF_HUB_OFFLINE is set, only the hub's cache is used."""
    with explain_missing_extras():
        from huggingface_hub import constants, snapshot_download
    try:
        folder = snapshot_download(
            # sentence-transformers uses the same owner for a name without an owner
            name if "/" in name else f"sentence-transformers/{name}",
            revision=revision,
            local_files_only=constants.HF_HUB_OFFLINE,
            ignore_patterns=["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot", "*.gguf"],
        )
    except Exception as error:  # the network, the hub and its cache raise many types
        raise InputError(
            f"{name} is not a file or folder here, and cannot be downloaded from the hub ({error}). {ACCEPTED}"
        ) from error
    return Path(folder)
