"""How the neighbours of held-out texts are shown: as a figure, or as not measured if there are too few texts."""

from __future__ import annotations

FEWEST_TEXTS = 200
"""The fewest texts whose overlap@10 is a figure.

Ten neighbours among few texts are found by chance: a random vector has an overlap of 10 / (texts - 1) on average, and
any vector has 1 among eleven texts. Among 200 texts chance is 5 %.
"""


def overlap_text(overlap: float | None, texts: int) -> str:
    """Return ``overlap`` of ``texts`` held-out texts as text, or why there is no such figure.

    Students that older versions made record an overlap for any number of texts; it is not shown for few texts either.
    """
    if overlap is None or texts < FEWEST_TEXTS:
        return f"not measured: {texts:,} held-out text{'s' * (texts != 1)}, {FEWEST_TEXTS} needed"
    return f"{overlap:.3f}"
