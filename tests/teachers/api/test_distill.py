"""A student is distilled from a teacher behind an API, which is asked for each text once over all commands."""

from collections import Counter

import pytest

import leafkit
from leafkit.errors import BudgetError
from leafkit.vectors.golden_texts import GOLDEN


def test_distil_and_embed_pay_for_each_text_once_and_a_budget_only_delays(
    server, tiny_teacher, sentences, tmp_path, monkeypatch
):
    monkeypatch.setenv("LEAFKIT_API_KEY", "sk-secret-1")
    texts, name = tmp_path / "docs.txt", f"api:{server.url}/v1#m"
    texts.write_text("\n".join(sentences[:60]))
    options = {"cache": tmp_path / "cache", "dimensions": 8, "normalised": True}

    def distil(**more):
        return leafkit.distill(
            texts, name, str(tiny_teacher), tmp_path / "student", epochs=1, export=False, **options, **more
        )

    with pytest.raises(BudgetError, match="0 of 60 texts are done"):
        distil(api_budget="0USD", prices=prices(tmp_path))
    assert not server.requests
    facts = distil()
    assert facts.space.weights == f"api:{server.url}/v1/embeddings#m"
    leafkit.embed(texts, name, tmp_path / "out.npy", **options)
    golden = {text for text, _ in GOLDEN}
    assert Counter(text for text in server.sent if text not in golden) == Counter(sentences[:60])
    kept = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not [content for content in kept if b"sk-secret" in content]


def prices(folder):
    file = folder / "prices.toml"
    file.write_text("m = 1.0\n")
    return file
