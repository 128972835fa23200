"""Finish a run: write the trained student with its record, card and ONNX files, and remove the run folder."""

from __future__ import annotations

import dataclasses
import logging
import platform
from pathlib import Path
from typing import Any

import numpy

from leafkit.command import command_line
from leafkit.errors import ExportError
from leafkit.files.atomic import atomic_folder
from leafkit.students.card import write_card
from leafkit.students.folder import MARKER, StudentFacts, read_student, write_student
from leafkit.students.query_moment import MOST_QUERIES, write_query_moment
from leafkit.training.batches import sample_rows
from leafkit.training.corpus import Corpus
from leafkit.training.generations import Generations
from leafkit.training.run import Run
from leafkit.training.verdict import verdict
from leafkit.types import ROLES, Float32
from leafkit.vectors.adopted import AdoptedSpace
from leafkit.vectors.fingerprint import read_fingerprint
from leafkit.vectors.mapping import read_mapping
from leafkit.version import __version__

logger = logging.getLogger("leafkit")


def finish(run: Run, generations: Generations, training: dict[str, Any], adopted: AdoptedSpace | None) -> StudentFacts:
    """Write the last student of ``generations`` to the output with the record ``training``; return its facts.

    ``adopted`` is the space into which the teacher was adopted, and which the student records in place of the
    teacher's own. Raises `ExportError` if the ONNX files do not agree with the student, which is kept in that case.
    """
    start = run.folder.start
    space = run.start_facts().space
    mapping = read_mapping(start, space)
    fingerprint = read_fingerprint(start, mapping.base if mapping else space)
    if adopted is not None:
        mapping = dataclasses.replace(mapping, base=adopted.space) if mapping else None
        space, fingerprint = mapping.space if mapping else adopted.space, adopted.fingerprint
    queries = query_vectors(run, generations)
    with atomic_folder(run.out, marker=MARKER, overwrite=run.options.overwrite) as folder:
        write_query_moment(folder, queries)
        facts = write_student(folder, generations.trained.to("cpu"), space, training, mapping, fingerprint)
        export_error = _try_export(folder) if run.options.export else None
        write_card(facts, name=run.out.name)
    run.accelerator.wait_for_everyone()
    run.folder.remove()
    if export_error is not None:
        raise ExportError(f"the student is finished in {run.out}, but without ONNX files: {export_error}")
    logger.info("student written to %s", run.out)
    logger.info(verdict(training))
    return read_student(run.out)


def query_vectors(run: Run, generations: Generations) -> Float32:
    """Return the student's vectors of at most 4,096 training queries, or of any texts if there are no queries."""
    data = generations.data
    queries = numpy.flatnonzero(data.roles[: data.train] == ROLES.index("query"))
    return generations.encode(sample_rows(queries if len(queries) else data.train_rows, MOST_QUERIES, run.recipe.seed))


def training_record(run: Run, corpus: Corpus, generations: Generations, *, student: str, asked: int) -> dict[str, Any]:
    """Return recipe, methods, data, validation, command and versions of a finished run, ready for JSON.

    ``student`` is the text form of the student or of its search, and ``asked`` the number of texts whose teacher
    vectors were used. In the record, ``best`` is the validation of the student that is kept, with the figures of the
    finished student if the methods changed its head, and ``steps`` is the number of steps of the last generation.
    """
    recipe, state = run.recipe, generations.state
    start = dict(run.start_facts().training)
    stated = start.pop("origin", {})
    kept = state.best if recipe.keep == "best" else state.step
    best = next(entry for entry in state.history if entry["step"] == kept)
    finished = {} if generations.finished is None else dataclasses.asdict(generations.finished)
    return {
        "student": student,
        "recipe": dataclasses.asdict(recipe),
        "methods": list(run.plan.specs),
        "head": start,
        "licence": run.options.licence or stated.get("license"),
        "base_model": stated.get("base_model"),
        "data": {
            "training": len(corpus.train),
            "asked": asked,
            "validation": len(corpus.valid),
            "repeated": corpus.train.repeated,
            "counts": [
                {"role": role, "source": source, "texts": count}
                for (role, source), count in sorted(corpus.train.counts.items())
            ],
            "digest": corpus.train.digest(),
        },
        "steps": generations.steps,
        "generations": generations.count,
        "best": best | finished,
        "start": state.history[0],
        "history": state.history,
        "command": command_line(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the software that made the student."""
    import sentence_transformers
    import torch
    import transformers

    return {
        "leafkit": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "sentence-transformers": sentence_transformers.__version__,
        "transformers": transformers.__version__,
    }


def _try_export(folder: Path) -> ExportError | None:
    """Export the student in ``folder``; return an error instead of raising it, because the student is worth keeping."""
    from leafkit.onnx.student import export_inside

    try:
        export_inside(folder)
    except ExportError as error:
        return error
    return None
