"""An overlap of few held-out texts is not shown as a figure, whichever version recorded it."""

import pytest

from leafkit.students.held_out import overlap_text


@pytest.mark.parametrize(
    ("overlap", "texts", "shown"),
    [
        (1.0, 6, "not measured: 6 held-out texts, 200 needed"),
        (None, 199, "not measured: 199 held-out texts, 200 needed"),
        (None, 1, "not measured: 1 held-out text, 200 needed"),
        (0.71234, 200, "0.712"),
    ],
)
def test_an_overlap_is_shown_from_200_texts_on(overlap, texts, shown):
    assert overlap_text(overlap, texts) == shown
