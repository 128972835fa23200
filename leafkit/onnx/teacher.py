"""`leafkit.export_teacher`: write a teacher as an ONNX folder, which encodes documents without torch."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.errors import DamageError, ExportError, InputError
from leafkit.extras import explain_missing_extras
from leafkit.files.atomic import atomic_folder, check_output_folder, write_json
from leafkit.files.model_folder import torch_weight_files
from leafkit.files.options import OverwriteOptions
from leafkit.onnx.student import golden_vectors
from leafkit.options import options_of, takes
from leafkit.prompts import prompts_of
from leafkit.shipped import resolve_student
from leafkit.space import Space
from leafkit.students.folder import MARKER as STUDENT
from leafkit.students.golden import compare_export
from leafkit.teachers.exported import GRAPH, MARKER, TOKENIZER, ExportedTeacher
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.types import Teacher
from leafkit.vectors.fingerprint import take_fingerprint

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger("leafkit")


@takes(TeacherOptions, OverwriteOptions)
def export_teacher(teacher: str | Path, out: str | PathLike[str], **options: Any) -> Path:
    """Write ``teacher`` as an ONNX folder at ``out`` and return its path.

    teacher: a sentence-transformers model: a folder, a hub id or ``package:NAME``.
    out: a folder that `leafkit.open_teacher` opens with onnxruntime alone, as a teacher of the same space.
        `leafkit.embed`, `leafkit.build_index` and `leafkit.update_index` take it on a host without torch.

    Pooling, head and normalisation are part of the graph, which is float32. Raises `ExportError` unless the golden
    texts get the teacher's vectors (least cosine 0.99999), and `InputError` for a teacher that is no such model.
    """
    out, overwrite = Path(out), options_of(OverwriteOptions, options).overwrite
    check_output_folder(out, marker=MARKER, overwrite=overwrite)
    with explain_missing_extras():
        from leafkit.onnx.graph import write_model
    opened, modules = open_model(teacher, options_of(TeacherOptions, options))
    with atomic_folder(out, marker=MARKER, overwrite=overwrite) as made:
        (made / "onnx").mkdir()
        write_model(modules, made / GRAPH, may_split=True)
        _describe(modules, opened.space, made)
        take_fingerprint(opened).save(made)
        ExportedTeacher.write(made, opened.space, [*made.glob("tokenizer*.json"), *(made / "onnx").iterdir()])
        _prove(made, opened)
    return out


def _prove(folder: Path, teacher: Teacher) -> None:
    """Open ``folder`` as its users do, and compare its vectors of the golden texts with those of ``teacher``."""
    try:
        exported = open_with(folder, TeacherOptions())
    except DamageError as error:
        raise ExportError(f"{teacher.space.teacher} cannot be written as ONNX: {error} Nothing was written.") from error
    figures = compare_export("float32", golden_vectors(teacher), golden_vectors(exported))
    logger.info("%s agrees with the teacher: least cosine %.5f", GRAPH, figures["least_cosine"])


def open_model(teacher: str | Path, options: TeacherOptions) -> tuple[Teacher, Sequence[nn.Module]]:
    """Open ``teacher``, a sentence-transformers model, in float32 on the CPU, and return it with its modules.

    Raises `InputError` for a teacher of another kind, and for a model with modules that need code of their own or
    treat queries and documents differently.
    """
    from leafkit.students.student import STOCK

    options.refuse(["compute", "device"], kind="an export, which is made in float32 on the CPU")
    path = resolve_student(teacher)
    if path.exists() and ((path / STUDENT).is_file() or not torch_weight_files(path)):
        raise InputError(
            f"{teacher} is not a sentence-transformers model with torch weights, and only such a teacher can be "
            "exported. To export a student, run: leafkit export STUDENT"
        )
    opened: Any = open_with(teacher, replace(options, compute="float32", device="cpu"))
    modules = list(opened.model)
    unknown = [type(module).__name__ for module in modules if type(module) not in STOCK]
    if unknown:
        allowed = ", ".join(sorted(module.__name__ for module in STOCK))
        raise InputError(f"{teacher} has the module {unknown[0]}, which cannot be exported; expected only {allowed}.")
    return opened, modules


def _describe(modules: Sequence[nn.Module], space: Space, folder: Path) -> None:
    """Write the tokenizer and the prompts to ``folder``, where all readers of ONNX folders look for them."""
    from leafkit.students.student import Body

    body = Body.of(modules)
    if body.kind == "table":
        # A table is read without the special tokens that the tokenizer would add.
        write_json(folder / TOKENIZER, json.loads(body.tokenizer.to_str()) | {"post_processor": None})
    else:
        body.tokenizer.save_pretrained(str(folder))
    if not (folder / TOKENIZER).is_file():
        raise ExportError(f"{space.teacher} has no fast tokenizer, so there is no {TOKENIZER}. Use another teacher.")
    settings = {"prompts": prompts_of(space), "similarity_fn_name": "cosine"}
    write_json(folder / "config_sentence_transformers.json", settings)
