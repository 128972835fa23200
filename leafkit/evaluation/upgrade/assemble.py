"""Put what was measured into a report: the figures of each way, its cost, the verdict, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from leafkit.command import command_line
from leafkit.evaluation.bootstrap import RESAMPLES
from leafkit.evaluation.evaluate import LIBRARIES
from leafkit.evaluation.provenance import Provenance, commit, folder_digest, packages
from leafkit.evaluation.upgrade.bridge import FOLDS
from leafkit.evaluation.upgrade.cost import Cost, Timing, costs, measure_model, median_milliseconds
from leafkit.evaluation.upgrade.measure import Material, Measured, Models
from leafkit.evaluation.upgrade.options import UpgradeOptions
from leafkit.evaluation.upgrade.report import Counts, UpgradeReport, WayFigures
from leafkit.evaluation.upgrade.verdict import Verdict, judged_verdict, unjudged_verdict, verdict_of_today
from leafkit.evaluation.upgrade.ways import CONTROL, OLD, REEMBED, STUDENT, WAYS
from leafkit.types import Teacher
from leafkit.version import __version__

Sources = Mapping[str, str | PathLike[str] | None]


def cost_of_ways(
    models: Models, material: Material, timing: Timing, old_model: Teacher | None, *, seed: int
) -> dict[str, Cost]:
    """Measure what each way costs for all documents of the old vectors.

    ``timing`` is that of the new model on the documents; ``old_model`` is without its cache.
    """
    queries = [*material.measured, *material.logged.texts] or material.documents.texts
    student = models.student
    online = old_model is not None and "online" in old_model.signals
    return costs(
        models.old.documents,
        measure_model(models.new, timing, material.documents.texts, queries, seed=seed),
        old_milliseconds=median_milliseconds(old_model, queries) if old_model is not None and online else None,
        student=(
            None if student is None else median_milliseconds(student.student.encoder, queries),
            None if student is None else student.training_seconds,
        ),
    )


def make_report(
    models: Models,
    material: Material,
    measured: Measured,
    cost: Mapping[str, Cost],
    asked: UpgradeOptions,
    *,
    sources: Sources,
) -> UpgradeReport:
    """Return the report; ``sources`` are the arguments queries and data."""
    collection = material.collection
    return UpgradeReport(
        old=models.old.space.to_json(),
        new=models.new.space.to_json(),
        student=None if models.student is None else models.student.student.name,
        counts=Counts(
            index=models.old.documents,
            documents=len(material.documents.texts),
            fitted=measured.fitted,
            judged=0 if collection is None else len(collection.queries),
            queries=measured.known,
            probes=measured.probes,
        ),
        ways=tuple(_figures(way, measured, models, cost[way]) for way in WAYS),
        verdict=_verdict(measured, asked),
        today=None if measured.judged is None else verdict_of_today(measured.judged, keep=asked.keep),
        missing=tuple(_missing(material, measured, models)),
        provenance=_provenance(models, material, asked, sources),
    )


def _figures(way: str, measured: Measured, models: Models, cost: Cost) -> WayFigures:
    judged = measured.judged if measured.judged is not None and way in measured.judged.ways else None
    old_too = judged is not None and OLD in judged.ways and way != OLD
    return WayFigures(
        way=way,
        what=WAYS[way],
        impossible=_impossible(way, models),
        ndcg=None if judged is None else judged.ndcg(way),
        of_reembedding=None if judged is None or way == REEMBED else judged.ratio(way, REEMBED),
        of_old=judged.ratio(way, OLD) if judged is not None and old_too else None,
        queries=None if measured.queries is None else measured.queries.get(way),
        documents=measured.documents.get(way),
        cost=cost,
    )


def _impossible(way: str, models: Models) -> str | None:
    """Say why ``way`` cannot be taken; None if it can."""
    widths = models.new.space.dim, models.old.dim
    if way == CONTROL and widths[0] != widths[1]:
        return f"the new vectors have the width {widths[0]} and the old ones {widths[1]}"
    if way == STUDENT and models.student is None:
        return "no student of the old space is given"
    return None


def _verdict(measured: Measured, asked: UpgradeOptions) -> Verdict:
    if measured.judged is not None:
        return judged_verdict(measured.judged, keep=asked.keep)
    if measured.queries is not None:
        return unjudged_verdict(measured.queries, overlap=asked.overlap, queries=f"{measured.known:,} queries")
    searched = f"{measured.probes:,} documents that search as queries"
    return unjudged_verdict(measured.documents, overlap=asked.overlap, queries=searched)


def _missing(material: Material, measured: Measured, models: Models) -> list[str]:
    """Return what could not be measured, each with what supplies it."""
    found = []
    if measured.judged is None:
        found.append(
            "nDCG@10, and so whether the new model is better at all: give judged queries on these documents with --data"
        )
    elif OLD not in measured.judged.ways:
        found.append(
            "nDCG@10 of the old model: give --old-teacher MODEL while it answers, or old vectors that hold the judged "
            "queries too"
        )
    if measured.queries is None:
        found.append(
            "agreement with the old ranking over real queries: give --old-teacher MODEL while it answers, or --queries "
            "FILE.parquet with the columns text and vector, the old model's vectors of queries that were logged"
        )
    if models.student is None:
        found.append(
            "a student of the old space: give --student DIR, or --train START --out DIR to distil one on the old texts "
            "and vectors. It learns more from query vectors, which only the old model writes: embed a query log before "
            "the model goes away"
        )
    if "online" not in models.new.signals:
        found.append("the time to embed and to encode a query: the new vectors come from a file")
    return found


def _provenance(models: Models, material: Material, asked: UpgradeOptions, sources: Sources) -> Provenance:
    student, collection = models.student, material.collection
    data = [{"name": "old", "source": str(models.old.path), "sha256": models.old.sha256()}]
    if collection is not None:
        data.append(
            {
                "name": collection.name,
                "source": str(sources["data"]),
                "split": collection.split,
                "sha256": collection.sha256,
                "documents": f"{len(collection.document_ids)} of {collection.corpus_size}",
            }
        )
    if sources["queries"] is not None:
        path = Path(sources["queries"])
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        data.append({"name": "queries", "source": str(path), "sha256": folder_digest(path.parent, files)})
    return Provenance(
        command=command_line(),
        leafkit=__version__,
        commit=commit(),
        space=models.old.space.to_json(),
        students={} if student is None else {student.student.name: student.student.sha256},
        encoder="" if student is None else student.runtime,
        data=data,
        seed=asked.seed,
        resamples=RESAMPLES,
        packages=packages(),
        libraries={
            "metrics": LIBRARIES["metrics"],
            "search": LIBRARIES["search"],
            "bridge": f"ridge regression, the penalty by held-out cosine, {FOLDS} folds",
        },
    )
