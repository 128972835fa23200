"""A student whose weights all differ, so that they can be read back from its graph."""

import pytest
import torch
from sentence_transformers import SentenceTransformer

import leafkit


@pytest.fixture(scope="session")
def teacher(tiny_teacher, tmp_path_factory):
    """The tiny teacher with biases that differ, as those of a trained model do."""
    model = SentenceTransformer(str(tiny_teacher), device="cpu")
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for values in model.parameters():
            values += 0.02 * torch.randn(values.shape, generator=random)
    folder = tmp_path_factory.mktemp("teacher") / "teacher"
    model.save(str(folder))
    return folder


@pytest.fixture(scope="session")
def student(teacher, tiny_texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    leafkit.distill(tiny_texts, teacher, "teacher:layers=2", folder / "student", epochs=0, cache=folder / "cache")
    return folder / "student"


@pytest.fixture(scope="session")
def exported_once(student, tmp_path_factory):
    return leafkit.export(student, out=tmp_path_factory.mktemp("exported") / "shipped")
