"""The rival without training: model2vec's token table, made from the teacher's own transformer.

Minish Lab, https://github.com/MinishLab/model2vec
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from leafkit.errors import OptionError
from leafkit.extras import explain_missing_extras
from leafkit.space import Space
from leafkit.training.prepare import teacher_model
from leafkit.types import Float32, Role, Teacher


class StaticEncoder:
    """model2vec's table as an encoder. Its vectors live in a space of their own: only the standard mode applies."""

    def __init__(self, model: Any, teacher: Space) -> None:
        """Encode with ``model``, a model2vec StaticModel made from ``teacher``."""
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
        """Vectors of ``texts``, shape (rows, dim); model2vec knows no prompts, so ``role`` changes nothing."""
        return numpy.asarray(self.model.encode(list(texts)), dtype=numpy.float32).reshape(len(texts), self.space.dim)


def distill_static(teacher: Teacher) -> StaticEncoder:
    """model2vec's own distillation with its defaults, but with all of the teacher's dimensions and its pooling."""
    with explain_missing_extras():
        from model2vec.distill import distill_from_model
    from transformers import AutoModel, AutoTokenizer

    place = teacher_model(teacher)
    if place is None:
        raise OptionError("model2vec needs a teacher that is a sentence-transformers model; leave its variant out")
    model = distill_from_model(
        AutoModel.from_pretrained(place).float(),
        AutoTokenizer.from_pretrained(place),
        pca_dims="auto",
        pooling="first" if teacher.space.pooling == "cls" else "mean",
        device="cpu",
    )
    return StaticEncoder(model, teacher.space)
