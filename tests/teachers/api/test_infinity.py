"""A foreign server in an environment of its own: infinity serves a student's folder, which is a teacher here."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from urllib.request import urlopen

import numpy
import pytest

import leafkit
from leafkit.space import Space
from leafkit.vectors.cosine import row_cosines
from tests.fixtures.environments import environment

pytestmark = pytest.mark.slow

PACKAGES = ["infinity-emb[torch,server]==0.0.78", "torch==2.13.0"]
START = "from infinity_emb.cli import cli; cli()"


@pytest.fixture(scope="module")
def name(exported, tmp_path_factory):
    """The name of the student that infinity serves, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--model-id", exported, "--served-model-name", "tiny", "--engine", "torch", "--device", "cpu"]
    options += ["--host", "127.0.0.1", "--port", port, "--no-bettertransformer", "--no-model-warmup"]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    log = tmp_path_factory.mktemp("infinity") / "log"
    with open(log, "wb") as said:
        running = subprocess.Popen(
            [environment(PACKAGES), "-c", START, "v2", *map(str, options)],
            env={**variables, "HF_HUB_OFFLINE": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"},
            cwd="/",
            stdout=said,
            stderr=said,
        )
    try:
        for _ in range(600):
            assert running.poll() is None, log.read_text()
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"api:http://127.0.0.1:{port}#tiny"
    finally:
        running.terminate()
        running.wait(30)


def test_its_vectors_are_those_of_the_student_in_both_roles(name, exported, sentences, tmp_path):
    student = leafkit.QueryEncoder.open(exported, precision="float32")
    space: Space = student.space
    prompts = {"query_prompt": space.query_prompt, "document_prompt": space.document_prompt}
    teacher = leafkit.open_teacher(name, **prompts)
    assert (teacher.space.dim, teacher.space.normalised) == (space.dim, space.normalised)
    for role in ("query", "document"):
        cosines = row_cosines(teacher.encode(sentences[:50], role), student.encode(sentences[:50], role))
        assert cosines.min() > 0.9999


def test_a_student_is_distilled_from_it_and_embedding_the_texts_asks_for_nothing(name, exported, sentences, tmp_path):
    texts = tmp_path / "docs.txt"
    texts.write_text("\n".join(sentences[:80]))
    options = {"cache": tmp_path / "cache"}
    facts = leafkit.distill(str(texts), name, str(exported), tmp_path / "student", epochs=1, export=False, **options)
    assert facts.space.weights.startswith("api:http://127.0.0.1")
    leafkit.embed(str(texts), name, tmp_path / "out.npy", api_budget="500-tokens", **options)
    assert len(numpy.load(tmp_path / "out.npy")) == 80
