"""Restore the torch model of a student that has only ONNX files: to train it further, or to export it whole."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from leafkit.errors import DamageError, ExportError, InputError
from leafkit.files.model_folder import read_modules
from leafkit.onnx.weights import read_weights
from leafkit.search.query_encoder import QueryEncoder
from leafkit.students.encoder import StudentEncoder
from leafkit.students.folder import check_files, copy_student, read_student
from leafkit.students.golden import compare_export, golden_vectors
from leafkit.students.student import Student
from leafkit.types import Float32

logger = logging.getLogger("leafkit")


def restore(folder: Path) -> Student:
    """Restore the exported student in ``folder``, which has no torch weights, on the CPU in float32.

    Raises the same errors as `restore_into`.
    """
    with tempfile.TemporaryDirectory(prefix="leafkit-") as place:
        return restore_into(folder, Path(place)).student


def restore_into(folder: Path, place: Path) -> StudentEncoder:
    """Fill the folder ``place`` with the exported student in ``folder`` and its torch weights; open the student there.

    Its vectors are those of the ONNX file, except for the rounding of int8 activations. Raises `InputError` if the
    files that describe the modules or some weights are missing, and `DamageError` if files do not fit together.
    """
    if not (folder / "modules.json").is_file():
        raise InputError(
            f"{folder} has no torch weights, and they cannot be read back: the files that say how the student is built "
            "(modules.json and others) are missing. Start from the student's own folder, or from a new export of it: "
            "leafkit export STUDENT --out NEW"
        )
    check_files(read_student(folder))
    weights = read_weights(folder)
    try:
        _write_weights(weights, folder, place)
        encoder = StudentEncoder.open(read_student(place), device="cpu")
    except (DamageError, InputError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(
            f"the files of {folder} that say how the student is built are broken or do not fit its graph "
            f"({error!r:.300}). Copy the folder or export the student again."
        ) from error
    _check_complete(encoder, weights, folder)
    cosine = _check_vectors(encoder, folder)
    logger.warning(
        "student: %s has no torch weights, so they are restored from its ONNX file. Mean cosine between the restored "
        "student's vectors and those of the file: %.4f",
        *(folder, cosine),
    )
    encoder.model.float()
    return encoder


def _check_complete(encoder: StudentEncoder, weights: dict[str, Float32], folder: Path) -> None:
    """Raise `InputError` if one of the model's weights is missing from the graph."""
    needed = [name for name, values in encoder.model.state_dict().items() if values.is_floating_point()]
    missing = [name for name in needed if name not in weights]
    if missing:
        raise InputError(
            f"{folder} cannot be restored: its graph lacks {len(missing)} of {len(needed)} weights, first "
            f"{missing[0]}. Start from the student's own folder, with torch weights, or from a new export of it: "
            "leafkit export STUDENT --out NEW"
        )


def _check_vectors(encoder: StudentEncoder, folder: Path) -> float:
    """Raise `DamageError` unless the restored model gives the export's vectors; return their mean cosine."""
    onnx = QueryEncoder.open(folder)
    try:
        return compare_export(onnx.precision, golden_vectors(onnx), golden_vectors(encoder))["mean_cosine"]
    except ExportError as error:
        raise DamageError(
            f"the student built from the files of {folder} gives other vectors than its ONNX file, so the files belong "
            f"to two students ({error}). Copy the folder or export the student again."
        ) from error


def _write_weights(weights: dict[str, Float32], folder: Path, restored: Path) -> None:
    """Fill ``restored`` with the student of ``folder`` and its torch ``weights``, module by module."""
    from safetensors.numpy import save_file

    copy_student(folder, restored)
    for module in read_modules(folder):
        prefix = f"{module['idx']}."
        state = {name.removeprefix(prefix): values for name, values in weights.items() if name.startswith(prefix)}
        if state:
            (restored / module["path"]).mkdir(exist_ok=True)
            tensors = {name.removeprefix("model."): values for name, values in state.items()}
            save_file(tensors, restored / module["path"] / "model.safetensors", metadata={"format": "pt"})
