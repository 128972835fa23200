"""Small index packages, and documents with everything that a payload can hold."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.packages import ids, make, space, vectors

__all__ = ["ids", "make", "payload", "space", "vectors"]


@pytest.fixture
def payload() -> list[dict[str, Any]]:
    """Forty documents with columns of each type, and some with what no typed field can hold."""
    rows: list[dict[str, Any]] = [
        {
            "title": f"title {row}",
            "text": f"text {row}\nsecond line 𝄞",
            "year": 2000 + row,
            "price": row / 4,
            "sold": row % 2 == 0,
            "category": ("linux", "osx")[row % 2],
            "tags": ["a", f"tag {row}"],
        }
        for row in range(40)
    ]
    rows[1] = {"text": 'bell \x07 and "quotes" \ud800', "tags": "alone", "year": None, "price": 3}
    rows[2] |= {"nested": {"a": [1, float("nan")]}, "embedding": "mine", "payload": 5, "we.ird name": "x", "tags": []}
    rows[3] |= {"mixed": "a", "_id": "odd"}
    rows[4] |= {"mixed": 1, "huge": 1 << 80}
    return rows
