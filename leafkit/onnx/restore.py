"""A student that came as ONNX alone, with torch weights again, to be trained on."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from leafkit.errors import DamageError, ExportError, InputError
from leafkit.files.model_folder import read_modules
from leafkit.onnx.student import copy_description, golden_vectors
from leafkit.onnx.weights import read_weights
from leafkit.search.query_encoder import QueryEncoder
from leafkit.students.encoder import StudentEncoder
from leafkit.students.folder import read_student
from leafkit.students.golden import judge
from leafkit.types import Float32

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger("leafkit")


def restore(folder: Path) -> SentenceTransformer:
    """The torch model of the exported student in ``folder``, which has no torch weights, on the CPU in float32.

    Its vectors are those of the ONNX file, but for what int8 activations take from them. Raises `InputError` where
    the files beside the graph do not say how the model is built, or its graph does not show all of its weights;
    `DamageError` where they do not fit together.
    """
    if not (folder / "modules.json").is_file():
        raise InputError(
            f"{folder} lacks the files that say how the student is built (modules.json and others), so it cannot be "
            "trained on; start from its own folder, or from what that exports: leafkit export STUDENT --out NEW"
        )
    weights = read_weights(folder)
    with tempfile.TemporaryDirectory(prefix="leafkit-") as place:
        made = Path(place)
        try:
            _write_weights(weights, folder, made)
            student = StudentEncoder.open(read_student(made), device="cpu")
        except (DamageError, InputError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamageError(
                f"the files of {folder} that say how the student is built are broken or do not fit its graph "
                f"({error!r:.300}); copy or export it again"
            ) from error
        needed = [name for name, values in student.model.state_dict().items() if values.is_floating_point()]
        missing = [name for name in needed if name not in weights]
        if missing:
            raise InputError(
                f"{folder} cannot be trained on: its graph does not show {len(missing)} of {len(needed)} weights, the "
                f"first {missing[0]}; start from the student's own folder, with torch weights, or from what that "
                "exports (leafkit export STUDENT --out NEW)"
            )
        onnx = QueryEncoder.open(folder)
        try:
            figures = judge(onnx.precision, golden_vectors(onnx), golden_vectors(student))
        except ExportError as error:
            raise DamageError(
                f"built as the files of {folder} say, the student gives other vectors than its ONNX file, so they are "
                f"of two students; copy or export it again ({error})"
            ) from error
    logger.warning(
        "student: %s has no torch weights; those of its ONNX file are taken, mean cosine %.4f to its vectors",
        *(folder, figures["mean_cosine"]),
    )
    return student.model.float()


def _write_weights(weights: dict[str, Float32], folder: Path, made: Path) -> None:
    """Make of ``made`` the student of ``folder`` with the torch ``weights`` of its modules."""
    from safetensors.numpy import save_file

    copy_description(folder, made)
    for module in read_modules(folder):
        inside = f"{module['idx']}."
        state = {name.removeprefix(inside): values for name, values in weights.items() if name.startswith(inside)}
        if state:
            (made / module["path"]).mkdir(exist_ok=True)
            tensors = {name.removeprefix("model."): values for name, values in state.items()}
            save_file(tensors, made / module["path"] / "model.safetensors", metadata={"format": "pt"})
