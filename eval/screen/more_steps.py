"""The page eval/results/more-steps.md: what the screen found with ten times the steps, beside what it found without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.screen.systems import LEAF, System
from eval.screen.which_method import label, of_screen
from leafkit.evaluation.compare.report import markdown_table
from leafkit.methods.ledger import Measured

RESULTS = Path(__file__).resolve().parents[2] / "eval" / "results"
FOLDER = RESULTS / "screen-dose"
PAGE = RESULTS / "more-steps.md"

_PAGE = """# Methods with more steps

**Question.** Do the verdicts on distillation methods hold with ten times the steps?

**Answer.** {answer}.

The screen (`docs/which-method.md`) trains on 6,000 texts for one epoch. Here the texts are {texts:,}, or, for methods
that are told labels or pairs, the same 6,000 texts for ten times the epochs. Doses, figures, seeds and statistics are
those of the screen. The verdicts are corrected for the {rows} rows of this page, which is written by
`python -m eval.screen report --tier dose`; do not edit it. The result files are in `eval/results/screen-dose`.

{table}

## Commands

```console
{commands}
```
"""
_HEAD = ["method", "student", "figure", "compared with", "in the screen", "with ten times the steps", "verdict"]


def more_steps(results: Mapping[str, Any], systems: Mapping[str, System]) -> str:
    """Return the page for ``results``, by name, of the tier of more steps."""
    cells, texts = [_HEAD], 0
    by_verdict: dict[str, list[str]] = {}
    for name, result in results.items():
        for student, row in result["rows"].items() if name != LEAF else ():
            one, before = Measured(row=row), of_screen(systems[name]).get(student)
            first = f"{before.verdict}, {before.difference}" if before else "-"
            cells.append(
                [label(systems[name]), one.student, one.figure, one.compared_with, first, one.difference, one.verdict]
            )
            by_verdict.setdefault(one.verdict, []).append(f"{label(systems[name])} ({one.student})")
            texts = max(texts, row["texts"]["texts"])
    answer = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in sorted(by_verdict.items()))
    return _PAGE.format(
        answer=answer[:1].upper() + answer[1:],
        texts=texts,
        rows=len(cells) - 1,
        table=markdown_table(cells, ["---"] * len(_HEAD)),
        commands="\n".join(sorted({f"$ {result['command']}" for result in results.values()})),
    )
