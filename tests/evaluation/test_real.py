"""Real models and data next to the checkout: leafkit's figures against those of other libraries."""

from __future__ import annotations

import gzip
import json

import pytest

from leafkit.evaluation.evaluate import evaluate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def model(shared_data):
    found = shared_data.parent / "models" / "bge-small-en-v1.5"
    if not found.is_dir():
        pytest.skip(f"no real model at {found}")
    return found


def test_sts_agrees_with_sentence_transformers(shared_data, model):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    with gzip.open(shared_data / "bench" / "stsb-en" / "test.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    columns = ([row[name] for row in rows] for name in ("sentence1", "sentence2", "score"))
    theirs = EmbeddingSimilarityEvaluator(*columns)(SentenceTransformer(str(model), device="cpu").float())
    (row,) = evaluate(
        mteb="stsb-en",
        data_root=shared_data / "bench",
        teacher=model,
        compute="float32",
    ).rows
    assert row.metrics["cosine_spearman"] == pytest.approx(theirs["spearman_cosine"], abs=1e-4)
    assert row.queries == len(rows) == 1379
