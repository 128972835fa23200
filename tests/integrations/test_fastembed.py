"""The recipe that makes a student a custom model of fastembed."""

from __future__ import annotations

import numpy
import pytest

from tests.integrations.conftest import QUERY

pytest.importorskip("fastembed", reason="fastembed is not installed")

pytestmark = pytest.mark.slow


def test_the_recipe_of_the_page_gives_the_students_vector(page, encoder):
    vector = page("fastembed")["vector"]
    assert float(vector @ encoder.encode([QUERY])[0]) == pytest.approx(1, abs=1e-5)
    assert numpy.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
