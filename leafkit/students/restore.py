"""A student that came as ONNX alone, with torch weights again, to be trained on."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from leafkit.errors import ExportError, InputError
from leafkit.onnx.golden import judge
from leafkit.onnx.student import copy_description, golden_vectors
from leafkit.onnx.weights import read_weights
from leafkit.query import QueryEncoder
from leafkit.students.encoder import StudentEncoder
from leafkit.students.folder import read_student

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MODULES = "modules.json"

logger = logging.getLogger("leafkit")


def restore(folder: Path) -> SentenceTransformer:
    """The torch model of the exported student in ``folder``, which has no torch weights, on the CPU in float32.

    Its vectors are those of the ONNX file, but for what int8 activations take from them. Raises `InputError` where
    the files beside the graph do not say how the model is built, or its graph does not show all of its weights.
    """
    from safetensors.numpy import save_file

    if not (folder / MODULES).is_file():
        raise InputError(
            f"{folder} lacks the files that say how the student is built ({MODULES} and others), so it cannot be "
            f"trained on; export it again from its own folder: leafkit export STUDENT --out {folder.name}"
        )
    weights = read_weights(folder)
    with tempfile.TemporaryDirectory(prefix="leafkit-") as place:
        made = Path(place)
        copy_description(folder, made)
        for module in json.loads((folder / MODULES).read_bytes()):
            inside = f"{module['idx']}."
            state = {name.removeprefix(inside): values for name, values in weights.items() if name.startswith(inside)}
            if state:
                (made / module["path"]).mkdir(exist_ok=True)
                tensors = {name.removeprefix("model."): values for name, values in state.items()}
                save_file(tensors, made / module["path"] / "model.safetensors", metadata={"format": "pt"})
        student = StudentEncoder.open(read_student(made), device="cpu")
        needed = [name for name, values in student.model.state_dict().items() if values.is_floating_point()]
        missing = [name for name in needed if name not in weights]
        if missing:
            raise _refusal(folder, f"{len(missing)} of {len(needed)} are hidden, the first {missing[0]}")
        try:
            figures = judge("int8", golden_vectors(QueryEncoder.open(folder)), golden_vectors(student))
        except ExportError as error:
            raise _refusal(folder, str(error)) from error
    logger.info("student: weights read back from %s, mean cosine %.4f to its vectors", folder, figures["mean_cosine"])
    return student.model.float()


def _refusal(folder: Path, why: str) -> InputError:
    return InputError(
        f"{folder} cannot be trained on, because its graph does not show all of its weights ({why}); start from the "
        "student's own folder, with torch weights"
    )
