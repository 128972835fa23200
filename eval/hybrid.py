"""``python -m eval.hybrid``: choose the weight of hybrid search on dev queries, and report it on test queries.

Runs on the six small collections of `eval.screen.benchmark` (1,200 documents each, cut at 500 characters). The weight
with the best nDCG@10 of the student on dev queries, mean over collections, is chosen; the test queries see all weights,
but choose nothing. Teacher vectors are cached, so a stopped run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy
import typer

from eval.screen.benchmark import COLLECTIONS, DEV, SPLITS, TEST, SmallCollection, read_small
from leafkit.command import command_line, exit_on_error
from leafkit.evaluation.bm25 import bm25_rankings, hybrid_rankings
from leafkit.evaluation.bootstrap import interval, resampled_means
from leafkit.evaluation.metrics import MAIN_METRIC, Float64, score_rankings
from leafkit.evaluation.provenance import commit, packages
from leafkit.evaluation.students import open_students
from leafkit.files.atomic import write_json
from leafkit.search.hybrid import RRF, Fusion
from leafkit.teachers.open import open_teacher
from leafkit.types import Encoder
from leafkit.vectors.cached import cached

FUSIONS: tuple[Fusion, ...] = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, RRF)
STUDENT, TEACHER = "student", "teacher"

Scores = dict[tuple[str, Fusion], dict[str, Float64]]
"""nDCG@10 of every query, by encoder and fusion, then by collection."""


def measure(
    small: SmallCollection, split: str, teacher: Encoder, student: Encoder
) -> dict[tuple[str, Fusion], Float64]:
    """Return nDCG@10 of every query of ``split``, by encoder and fusion; documents are the teacher's."""
    part, finder = small.parts[split], small.finder(teacher)
    bm25 = bm25_rankings(part)
    found = {}
    for name, encoder in ((STUDENT, student), (TEACHER, teacher)):
        vectors = encoder.encode(part.queries, "query")
        for fusion in FUSIONS:
            rankings = hybrid_rankings(part, vectors, finder, bm25, fusion)
            found[name, fusion] = score_rankings(part.judgements, rankings).values[MAIN_METRIC]
    return found


def mean_of(scores: Mapping[str, Float64]) -> float:
    """Return the mean over collections of the mean over queries."""
    return float(numpy.mean([values.mean() for values in scores.values()]))


def chosen_weight(dev: Scores) -> float:
    """Return the weight with which the student's dev queries score best; of equal ones the largest."""
    weights = [fusion for fusion in FUSIONS if isinstance(fusion, float)]
    return max(weights, key=lambda weight: (mean_of(dev[STUDENT, weight]), weight))


def difference(of: Mapping[str, Float64], minus: Mapping[str, Float64], *, seed: int) -> dict[str, float | None]:
    """Return the mean over collections of ``of`` - ``minus``, with the 95 % interval of resampled queries."""
    samples = [
        resampled_means((of[name] - minus[name])[None], seed=(seed, place))[:, 0] for place, name in enumerate(of)
    ]
    found = interval(numpy.mean(samples, axis=0))
    low, high = (None, None) if found is None else (round(found.low, 4), round(found.high, 4))
    return {"mean": round(mean_of(of) - mean_of(minus), 4), "low": low, "high": high}


def results_of(scores: Mapping[str, Scores], *, seed: int) -> dict[str, Any]:
    """Return the chosen weight, the means of every fusion, and what the fusion gains by collection on test queries."""
    weight, test = chosen_weight(scores[DEV]), scores[TEST]
    hybrid = test[STUDENT, weight]
    against = {"student": test[STUDENT, 1.0], "teacher": test[TEACHER, 1.0], "bm25": test[STUDENT, 0.0]}
    return {
        "chosen": weight,
        "means": {
            split: [
                {"queries": encoder, "fusion": fusion, "ndcg@10": round(mean_of(values), 4)}
                for (encoder, fusion), values in scores[split].items()
            ]
            for split in SPLITS
        },
        "hybrid student minus": {name: difference(hybrid, other, seed=seed) for name, other in against.items()},
        "hybrid teacher minus teacher": difference(test[TEACHER, weight], test[TEACHER, 1.0], seed=seed),
        "rrf student minus student": difference(test[STUDENT, RRF], test[STUDENT, 1.0], seed=seed),
        "collections": {
            name: {
                "dense": round(float(against["student"][name].mean()), 4),
                "bm25": round(float(against["bm25"][name].mean()), 4),
                "hybrid": round(float(hybrid[name].mean()), 4),
                "gain": difference({name: hybrid[name]}, {name: against["student"][name]}, seed=seed),
                "queries better": round(float((hybrid[name] > against["student"][name]).mean()), 3),
                "queries worse": round(float((hybrid[name] < against["student"][name]).mean()), 3),
            }
            for name in hybrid
        },
    }


def main(
    bench: Annotated[Path, typer.Option(help="The folder that holds the BEIR folders.")],
    teacher: Annotated[str, typer.Option(help="The teacher that encodes the documents.")],
    student: Annotated[Path, typer.Option(help="The student that encodes the queries.")],
    out: Annotated[Path, typer.Option(help="The result file to write.")],
    cache: Annotated[Path | None, typer.Option(help="Folder of cached teacher vectors.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the intervals.")] = 0,
) -> None:
    """Choose the weight of hybrid search on dev queries, and report it on test queries."""
    opened = cached(open_teacher(teacher), cache)
    (trained,) = open_students([student], "onnx-int8", None)
    scores: dict[str, Scores] = {
        split: {(who, how): {} for who in (STUDENT, TEACHER) for how in FUSIONS} for split in SPLITS
    }
    hashes = {}
    for name, dev in COLLECTIONS.items():
        small = read_small(bench / name, dev)
        hashes[name] = small.parts[TEST].sha256
        for split in SPLITS:
            for key, values in measure(small, split, opened, trained.encoder).items():
                scores[split][key][name] = values
    found = results_of(scores, seed=seed)
    provenance = {
        "command": command_line(),
        "commit": commit(),
        "space": opened.space.to_json(),
        "student": {trained.name: trained.sha256},
        "data": hashes,
        "seed": seed,
        "packages": packages(),
    }
    write_json(out, {**found, "provenance": provenance})
    for split in SPLITS:
        for row in found["means"][split]:
            typer.echo(f"{split:5} {row['queries']:8} {row['fusion']!s:5} {row['ndcg@10']:.4f}")
    typer.echo(f"chosen: {found['chosen']}")


if __name__ == "__main__":
    with exit_on_error():
        typer.run(main)
