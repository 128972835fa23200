"""Small runs: two hundred texts of both roles, and a distillation that takes a second or two."""

from __future__ import annotations

import dataclasses
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


@pytest.fixture
def planned(monkeypatch, distil):
    """`leafkit.distill` with LEAF and methods that are not registered; keyword arguments override."""
    from leafkit.methods.method import Probe, StepMethod, Topology, Writer
    from leafkit.training import distill as home

    def run(*methods, **settings):
        whole = home.make_plan

        def plan(*specs):
            made = whole(*specs)
            named = {type(method).__name__.lower(): method for method in methods}
            return dataclasses.replace(
                made,
                step_methods=made.step_methods | {k: v for k, v in named.items() if isinstance(v, StepMethod)},
                topology=next((method for method in methods if isinstance(method, Topology)), None),
                writer=next((method for method in methods if isinstance(method, Writer)), None),
                probes={name: method for name, method in named.items() if isinstance(method, Probe)},
            )

        with monkeypatch.context() as patched:
            patched.setattr(home, "make_plan", plan)
            patched.setattr("leafkit.methods.plan.method_spec", lambda method: type(method).__name__.lower())
            return distil(**{"valid_every": 100, **settings})

    return run
