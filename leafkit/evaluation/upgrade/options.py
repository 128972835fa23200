"""Options of a comparison of the ways to leave an old model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from leafkit.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class UpgradeOptions(Options):
    """What is measured, and how good a way must be to be taken."""

    panel: ClassVar[str] = "Upgrade"

    old_teacher: Annotated[
        str | None,
        Option(
            "The old model, if it still answers: it encodes the queries, so that its own hits are what the ways are "
            "compared with.",
            none="the old model is gone",
        ),
    ] = None
    split: Annotated[str, Option("Relevance judgements (qrels) of --data to measure on: test or dev.")] = "test"
    documents: Annotated[
        int,
        Option(
            "Measure on at most this many documents, which the new model encodes. Of --data, every judged document is "
            "kept.",
            at_least=1,
        ),
    ] = 10_000
    keep: Annotated[
        float,
        Option(
            "With judgements: the share of the best way's nDCG@10 that a cheaper way must keep to be taken.",
            above=0,
            at_most=1,
        ),
    ] = 0.95
    overlap: Annotated[
        float,
        Option(
            "Without judgements: the share of the old model's ten best hits that a way must find to be taken before "
            "all documents are embedded again.",
            above=0,
            at_most=1,
        ),
    ] = 0.7
    train: Annotated[
        str | None,
        Option(
            "Distil a student into the old space on the old texts and vectors, from this start: see leafkit distill "
            "--student. Needs --out.",
            none="no student is trained",
        ),
    ] = None
    examples: Annotated[
        int, Option("Budget of that training: the texts that the student sees, repetitions counted.", at_least=1)
    ] = 20_000
    seed: Annotated[int, Option("Seed of samples, folds and bootstrap intervals.", at_least=0)] = 0
