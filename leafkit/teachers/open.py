"""Opening a teacher of any kind: a model, an ONNX folder, a vectors file or a student."""

from __future__ import annotations

import re
from pathlib import Path

from leafkit.errors import InputError
from leafkit.extras import explain_missing_extras
from leafkit.files.model_folder import package_folder, torch_weight_files
from leafkit.shipped import resolve_student
from leafkit.teachers.options import GRAPHS, Compute, TeacherOptions
from leafkit.types import Teacher
from leafkit.vectors.vectors_file import SUFFIXES, is_vectors_file

ACCEPTED = """A teacher is one of
  a sentence-transformers model: a folder with modules.json, or a hub id like owner/name
  an ONNX folder: a folder with tokenizer.json and model.onnx (or onnx/model.onnx)
  a vectors file: .parquet with columns text and vector (or embedding), a folder of such files, or .npy with a .jsonl of
  the same name
  a student made by leafkit: a folder with leafkit.json
  package:NAME, a model inside an installed Python package"""


def open_teacher(
    teacher: str | Path | Teacher,
    *,
    compute: Compute = "auto",
    teacher_batch_size: int | None = None,
    max_length: int | None = None,
    teacher_name: str | None = None,
    teacher_space: str | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    pooling: str | None = None,
    normalised: bool | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> Teacher:
    """The teacher that the argument names: a model, an ONNX folder or a vectors file; an open one is given back.

    compute: precision of the computation; auto is bfloat16 where the hardware has it, else float32.
    teacher_batch_size: the most texts in one forward pass; batches are bounded by tokens as well.
    max_length: truncate texts to this many tokens instead of the model's own limit.
    teacher_name: declare the identity of the vectors, in place of a hash of weights or file.
    teacher_space: a student (folder or name) to whose space the vectors belong by your word: vectors of an API or
        another tool, or another copy of the model. Refused unless the student comes near them on some texts.
    query_prompt, document_prompt: put before every text of the role instead of the model's own prompt.
    pooling: mean or cls, for an ONNX folder that does not say.
    normalised: scale vectors to length one (or declare that they are not).
    device: where torch computes; a vectors file and an ONNX folder do without torch, the latter on the CPU.
    trust_remote_code: run Python code that a model brings with it. Only for models whose code you have read.
    revision: branch, tag or commit of a hub model.

    Raises `InputError` for an argument that is none of these, `OptionError` for an option that does not fit it.
    """
    if not isinstance(teacher, str | Path):
        if isinstance(teacher, Teacher):
            return teacher
        raise InputError(f"the teacher is of type {type(teacher).__name__}. {ACCEPTED}")
    options = TeacherOptions(
        compute=compute,
        teacher_batch_size=teacher_batch_size,
        max_length=max_length,
        teacher_name=teacher_name,
        teacher_space=teacher_space,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        pooling=pooling,
        normalised=normalised,
        device=device,
        trust_remote_code=trust_remote_code,
        revision=revision,
    )
    if teacher_space is not None:
        from leafkit.teachers.declared_space import open_in_declared_space

        return open_in_declared_space(str(teacher), options, _open)
    return _open(str(teacher), options)


def _open(teacher: str, options: TeacherOptions) -> Teacher:
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
        from leafkit.students.folder import open_student

        options.refuse(options.given() - {"device"}, kind="a student, which records its space")
        return open_student(path, device=options.device)
    graph = (path / "tokenizer.json").is_file() and any((path / at).is_file() for at in GRAPHS)
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
