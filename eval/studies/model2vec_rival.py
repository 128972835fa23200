"""The rival without training: model2vec's token table, made from the teacher's own transformer.

Minish Lab, https://github.com/MinishLab/model2vec
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from leafkit.errors import OptionError
from leafkit.space import Space
from leafkit.training.source import teacher_model
from leafkit.types import Float32, Role, Teacher


class Model2VecEncoder:
    """model2vec's table as an encoder. Its vectors have a space of their own, so only the standard mode applies."""

    def __init__(self, model: Any, teacher: Space) -> None:
        """Encode with ``model``, a model2vec StaticModel made from the teacher of the space ``teacher``."""
        self.model = model
        self.parameters = int(model.embedding.size)
        self.space = Space(
            teacher=f"model2vec of {teacher.teacher}",
            weights=f"model2vec:{teacher.id}",
            dim=int(model.dim),
            normalised=True,
            pooling="mean",
            max_length=None,
        )

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return vectors of ``texts``, shape (rows, dim). model2vec has no prompts, so ``role`` changes nothing."""
        return numpy.asarray(self.model.encode(list(texts)), dtype=numpy.float32).reshape(len(texts), self.space.dim)


def distill_with_model2vec(teacher: Teacher) -> Model2VecEncoder:
    """Run model2vec's distillation with its defaults, but with all dimensions and the pooling of the teacher.

    Raises `OptionError` without model2vec, or for a teacher that is not a sentence-transformers model.
    """
    try:
        from model2vec.distill import distill_from_model
    except ModuleNotFoundError as error:
        message = f"model2vec needs {error.name}, which is not installed. In the checkout, run: pip install -e '.[dev]'"
        raise OptionError(message) from error
    from transformers import AutoModel, AutoTokenizer

    place = teacher_model(teacher)
    if place is None:
        raise OptionError(
            f"model2vec needs a sentence-transformers model, but the teacher is {teacher.space.teacher}. "
            "Remove the variant."
        )
    model = distill_from_model(
        AutoModel.from_pretrained(place).float(),
        AutoTokenizer.from_pretrained(place),
        pca_dims="auto",
        pooling="first" if teacher.space.pooling == "cls" else "mean",
        device="cpu",
    )
    return Model2VecEncoder(model, teacher.space)
