"""`Hits` as dictionaries, JSON and a DataFrame."""

from __future__ import annotations

import json
import math
import sys

import numpy
import pytest

from leafkit.errors import MissingExtraError
from leafkit.search import Hits

SCORES = numpy.array([0.5, 0.1], dtype=numpy.float32)
PAYLOAD = [{"text": "copy a file", "score": 7, "tags": ["a"]}, {"text": "liste \ud800", "id": 3, "price": math.nan}]
HITS = Hits(["a", "b"], SCORES, PAYLOAD)
HYBRID = Hits(["a", "b"], SCORES, PAYLOAD, fused=numpy.array([1, 0.25], dtype=numpy.float32))


def test_a_column_of_the_payload_never_hides_the_id_or_the_score() -> None:
    first, second = HITS.to_dicts()
    assert first == {"id": "a", "score": 0.5, "text": "copy a file", "payload.score": 7, "tags": ["a"]}
    assert (second["id"], second["payload.id"]) == ("b", 3)


def test_a_hybrid_search_keeps_the_cosine_beside_the_fused_score() -> None:
    assert [(hit["score"], hit["fused"]) for hit in HYBRID.to_dicts()] == [(0.5, 1.0), (float(SCORES[1]), 0.25)]
    assert "fused" not in HITS.to_dicts()[0]


@pytest.mark.parametrize("hits", [HITS, HYBRID])
def test_nested_and_flat_hold_the_same(hits: Hits) -> None:
    flat, nested = hits.to_dicts(), hits.to_dicts(nested=True)
    assert [hit.pop("payload") for hit in nested] == PAYLOAD
    assert [{name: hit[name] for name in own} for hit, own in zip(flat, nested, strict=True)] == nested


def test_numbers_are_those_of_python() -> None:
    assert {type(hit[name]) for hit in HYBRID.to_dicts() for name in ("score", "fused")} == {float}


def test_json_reads_back_exactly_in_every_parser() -> None:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    read = json.loads(HITS.to_json(), parse_constant=refuse)
    assert read == [HITS.to_dicts()[0], {**HITS.to_dicts()[1], "price": None}]
    assert HITS.to_json().isascii()
    assert json.loads(HITS.to_json(nested=True))[0] == HITS.to_dicts(nested=True)[0]


def test_a_frame_has_a_row_per_hit_and_a_column_per_name() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = HYBRID.to_pandas()
    assert list(frame) == ["id", "score", "fused", "text", "payload.score", "tags", "payload.id", "price"]
    assert frame["score"].dtype == numpy.float64
    assert frame["payload.score"].isna().tolist() == [False, True]
    assert list(Hits([], SCORES[:0], []).to_pandas()) == ["id", "score"]


def test_a_missing_pandas_is_named_with_its_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"this needs pandas, .* pip install 'leafkit\[texts\]'"):
        HITS.to_pandas()
