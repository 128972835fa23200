"""A small BEIR folder, and students that are the tiny teacher with more or less noise in the head."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest


def write_beir(folder: Path, sentences: list[str], *, queries: int = 30, seed: int = 0) -> Path:
    """Documents are ``sentences``; a query is half the words of one document, which is relevant to it."""
    draw = random.Random(seed)
    (folder / "qrels").mkdir(parents=True)
    with gzip.open(folder / "corpus.jsonl.gz", "wt") as file:
        for number, text in enumerate(sentences):
            title = text.split()[0] if number % 3 else ""
            file.write(json.dumps({"_id": f"d{number}", "title": title, "text": text}) + "\n")
    chosen = draw.sample(range(len(sentences)), queries)
    with open(folder / "queries.jsonl", "w") as file, open(folder / "qrels" / "test.tsv", "w") as qrels:
        qrels.write("query-id\tcorpus-id\tscore\n")
        for number, document in enumerate(chosen):
            words = sentences[document].split()
            text = " ".join(words[: max(2, len(words) // 2)])
            file.write(json.dumps({"_id": f"q{number}", "text": text}) + "\n")
            qrels.write(f"q{number}\td{document}\t{1 + number % 2}\n")
            qrels.write(f"q{number}\td{(document + 1) % len(sentences)}\t{number % 2}\n")
    return folder


def make_student(folder: Path, teacher: Path, *, noise: float, seed: int = 0) -> Path:
    """A finished student: the teacher itself, then a linear head that is the identity plus ``noise``."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    from leafkit.students.folder import write_student
    from leafkit.teachers.open import open_teacher

    space = open_teacher(teacher).space
    model = SentenceTransformer(str(teacher), device="cpu")
    head = Dense(space.dim, space.dim, bias=True, activation_function=torch.nn.Identity())
    torch.manual_seed(seed)
    with torch.no_grad():
        head.linear.weight.copy_(torch.eye(space.dim) + noise * torch.randn(space.dim, space.dim))
        head.linear.bias.zero_()
    student = SentenceTransformer(
        modules=[model[0], model[1], head, Normalize()],
        prompts=model.prompts,
        device="cpu",
        similarity_fn_name="cosine",
    )
    folder.mkdir(parents=True)
    write_student(folder, student, space, {})
    return folder


@pytest.fixture(scope="session")
def beir_folder(tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    """Two hundred documents and thirty queries, each with graded judgements."""
    return write_beir(tmp_path_factory.mktemp("beir") / "tiny", sentences)


@pytest.fixture(scope="session")
def other_beir_folder(tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    """Forty of the documents and nine other queries."""
    return write_beir(tmp_path_factory.mktemp("beir") / "other", sentences[:40], queries=9, seed=1)


@pytest.fixture(scope="session")
def exact_student(tmp_path_factory: pytest.TempPathFactory, tiny_teacher: Path) -> Path:
    """A student whose vectors are the teacher's."""
    return make_student(tmp_path_factory.mktemp("students") / "exact", tiny_teacher, noise=0.0)


@pytest.fixture(scope="session")
def noisy_student(tmp_path_factory: pytest.TempPathFactory, tiny_teacher: Path) -> Path:
    """A student that is clearly worse than the teacher."""
    return make_student(tmp_path_factory.mktemp("students") / "noisy", tiny_teacher, noise=1.0)
