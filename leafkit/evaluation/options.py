"""Options for evaluating students."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Annotated, ClassVar

from leafkit.options import Option, Options
from leafkit.search.hybrid import DENSE_WEIGHT


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(Options):
    """Options of an evaluation: what is measured, and how."""

    panel: ClassVar[str] = "Evaluation"

    data_root: Annotated[
        str | PathLike[str] | None,
        Option(
            "Folder that contains a folder for each MTEB task, read instead of the hub; a folder goes by its name, by "
            "that of MTEB or by the heading of its SOURCE.md. NAME:clustering measures a table as another kind.",
            none="the hub",
        ),
    ] = None
    split: Annotated[
        str, Option("Relevance judgements (qrels) or table to measure on: test or dev. Hub tasks use their own split.")
    ] = "test"
    dims: Annotated[
        Sequence[int] | None,
        Option("Dimensions of the grid, e.g. 384,256,64.", none="the full dimension", commas=True),
    ] = None
    precisions: Annotated[
        Sequence[str] | None,
        Option(
            "Precisions of the grid, e.g. float32,int8,binary; ranges are fitted to the documents.",
            none="float32",
            commas=True,
        ),
    ] = None
    modes: Annotated[
        Sequence[str] | None,
        Option("Modes to measure: teacher, standard, asymmetric.", none="all that are possible", commas=True),
    ] = None
    encoder: Annotated[
        str | None,
        Option(
            "Runtime of the students: torch, onnx or onnx-int8 (the file inside an index).",
            none="torch, or onnx-int8 if a student has no torch weights",
        ),
    ] = None
    bm25: Annotated[
        bool, Option("Add a row for BM25, a baseline without vectors, to each folder.", flags=("--bm25",))
    ] = False
    hybrid: Annotated[
        bool,
        Option(
            f"Add the row for BM25, and after each row of vectors one for the hybrid search: the hundred best of both "
            f"fused, with the weight {DENSE_WEIGHT} for the vectors.",
            flags=("--hybrid",),
        ),
    ] = False
    cross_check: Annotated[
        bool,
        Option("Search and score the same vectors with BEIR as well (float32 cells).", flags=("--cross-check",)),
    ] = False
    documents: Annotated[
        int | None,
        Option(
            "Measure each folder on a fixed subset of its corpus: every judged document, and up to this many with "
            "those whose id has the lowest SHA-256.",
            none="all",
        ),
    ] = None
    seed: Annotated[int, Option("Seed of the bootstrap intervals.", at_least=0)] = 0
