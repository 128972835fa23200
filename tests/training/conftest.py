"""Small runs: two hundred texts of both roles, and a distillation that takes a second or two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROLES = ("query", "document")


@pytest.fixture(scope="session")
def texts_file(sentences, tmp_path_factory) -> Path:
    """A file of texts, half queries and half documents, from two sources."""
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rows = [{"text": text, "role": ROLES[i % 2], "source": f"source-{i % 2}"} for i, text in enumerate(sentences)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def distil(texts_file, tiny_teacher, tmp_path):
    """`leafkit.distill` on the small texts; keyword arguments override."""
    from leafkit.training.distill import distill

    def run(**settings):
        settings = {
            "texts": texts_file,
            "teacher": str(tiny_teacher),
            "student": "teacher:layers=2",
            "out": tmp_path / "student",
            "precision": "float32",
            "export": False,
            "batch_size": 16,
            **settings,
        }
        return distill(**settings)

    return run
