"""A laboratory without models: features are random, and the teacher is a linear map of them."""

import numpy
import pytest

from eval.mechanism.texts import LabTexts

TEXTS, INPUTS, DIM = 240, 12, 8


def made_texts(count=TEXTS, seed=0):
    draw = numpy.random.default_rng(seed)
    features = draw.standard_normal((count, INPUTS)).astype(numpy.float32)
    vectors = features @ numpy.random.default_rng(1).standard_normal((INPUTS, DIM)).astype(numpy.float32)
    rows = numpy.arange(count)
    return LabTexts(
        texts=tuple(f"text {row}" for row in rows),
        roles=rows % 2,
        labels=rows % 4,
        domains=rows % 3,
        lengths=3 + rows % 5,
        pairs=numpy.column_stack([rows[0:20:2], rows[1:20:2]]),
        features=features,
        vectors=vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True),
    )


@pytest.fixture
def texts():
    """240 texts of both roles, four classes and three domains, with ten pairs."""
    return made_texts()
