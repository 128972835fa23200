"""Golden texts: the texts by which an export is compared with its student, and a teacher with a vector space."""

from __future__ import annotations

from collections.abc import Sequence

from leafkit.types import Encoder, Role

# Short texts come first: `leafkit.search.query_encoder` encodes a few of them whenever it opens an export.
GOLDEN: tuple[tuple[str, Role], ...] = (
    ("how do I list open ports", "query"),
    ("The capital of France is Paris.", "document"),
    ("naïve café résumé Ωmega 数据 🙂", "query"),
    ("x", "query"),
    ("which planet is known as the red planet?", "query"),
    ("Mars is the fourth planet from the Sun; iron oxide on its surface gives it a reddish colour.", "document"),
    ("symptoms of iron deficiency", "query"),
    ("Tiredness, pale skin and shortness of breath are common when the body lacks iron.", "document"),
    ("undo the last commit but keep the changes", "query"),
    ("git reset --soft HEAD~1 moves the branch back by one commit and leaves the files as they are.", "document"),
    ("1234567890 3.14159 -42 0x7f", "query"),
    ("who wrote the first computer program", "query"),
    ("In 1843 Ada Lovelace published an algorithm for the Analytical Engine.", "document"),
    ("does coffee raise blood pressure?", "query"),
    ("Caffeine can cause a short, dramatic rise in blood pressure, even in people without hypertension.", "document"),
    # Longer than most length limits and different everywhere, so that truncating at another place changes the vector.
    (" ".join(f"{number} words" for number in range(2000, 1000, -1)), "document"),
)


def askable(texts: Sequence[tuple[str, Role]], encoder: Encoder) -> list[tuple[str, Role]]:
    """Return those ``texts`` that ``encoder`` may be asked for: all, but no long ones of a teacher behind an API.

    An API may refuse a long text, and charges for it.
    """
    longest = getattr(encoder, "longest_probe", None)
    return [pair for pair in texts if longest is None or len(pair[0]) <= longest]
