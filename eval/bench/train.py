"""Training: texts per second of leafkit's loop and of the sentence-transformers trainer with EmbedDistillLoss."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from eval.bench.figure import Figure, Spread
from eval.bench.side import Result, Side, take_turns
from eval.bench.workload import Workload, read_queries
from eval.rival_trainer import train_rival

if TYPE_CHECKING:
    from leafkit.training.data import TrainingData
    from leafkit.training.recipe import Precision, Recipe
    from leafkit.training.run import Run

LEAST_RATIO = 1.5
BATCH = 32
# The first steps allocate and warm up. They do not count on either side.
WARM = 10
HELD_OUT = 32

PAIRS = (
    ("train, as each ships", "ours auto", "theirs float32", LEAST_RATIO),
    ("train, both float32", "ours float32", "theirs float32", None),
    ("train, both bfloat16", "ours bfloat16", "theirs bfloat16", None),
)


def measure(workload: Workload, *, rounds: int, steps: int) -> list[Figure]:
    """Measure ``steps`` steps on queries, after ten that do not count. Teacher vectors are computed beforehand."""
    folder = run_folder(workload, "train", steps=steps, batch_size=BATCH)
    results, facts = _turns(folder, rounds)
    chosen = facts["ours float32"]["ships with"]
    results["ours auto"], facts["ours auto"] = results[f"ours {chosen}"], facts[f"ours {chosen}"]
    about = {"student": workload.students[0], "batch": BATCH, "steps": steps, "distinct texts": workload.queries}
    return [
        Figure(
            name=name,
            unit="texts/s",
            ours=Spread(tuple(result["rate"] for result in results[mine])),
            theirs=Spread(tuple(result["rate"] for result in results[other])),
            more_is_better=True,
            least_ratio=least,
            facts={**about, **_facts(facts[mine], facts[other])},
        )
        for name, mine, other, least in PAIRS
    ]


def run_folder(workload: Workload, name: str, *, steps: int, batch_size: int) -> str:
    """Make a run folder ``name`` with the start of the main student and queries for ``steps`` steps after `WARM`."""
    folder = str(workload.work / name)
    # Otherwise training would resume from checkpoints of an earlier run.
    shutil.rmtree(folder, ignore_errors=True)
    rows = {"queries": str(workload.queries_file), "texts": batch_size * (WARM + steps) + HELD_OUT}
    student = {"teacher": workload.teacher, "student": workload.students[0]}
    with Side(f"{__name__}:prepare", {"folder": folder, **rows, **student}):
        return folder


def _turns(folder: str, rounds: int) -> tuple[dict[str, list[Result]], dict[str, Result]]:
    """Return results and facts of both sides in both precisions."""
    with ExitStack() as stack:
        sides = {}
        for who, precision in itertools.product(("ours", "theirs"), ("float32", "bfloat16")):
            side = Side(f"{__name__}:{who}", {"folder": folder, "precision": precision})
            sides[f"{who} {precision}"] = stack.enter_context(side)
        return take_turns(sides, rounds), {name: side.facts for name, side in sides.items()}


def _facts(ours: Result, theirs: Result) -> dict[str, Any]:
    return {
        "ours in": ours["precision"],
        "theirs in": theirs["precision"],
        "longest": f"{theirs['tokens']} tokens",
        "mean tokens": ours["mean tokens"],
        "threads": ours["threads"],
    }


def prepare(folder: str, queries: str, texts: int, teacher: str, student: str) -> Iterator[Result]:
    """A side that fills a run folder: tokens, teacher vectors, and the student that both sides start from."""
    from leafkit.files.digest import text_key
    from leafkit.students.spec import parse_student
    from leafkit.teachers.open import open_teacher
    from leafkit.texts.table import TextTable
    from leafkit.training.corpus import Corpus
    from leafkit.training.recipe import Recipe
    from leafkit.training.start import build_start

    asked = read_queries(queries, texts)
    kept = TextTable()
    for text in asked:
        kept.add(text, "query", text_key("query", text))
    train = texts - HELD_OUT
    run = _run(folder, Recipe(), "cpu")
    corpus = Corpus(train=kept.choose(range(train)), valid=kept.choose(range(train, texts)))
    build_start(run, corpus, open_teacher(teacher, device="cpu"), parse_student(student))
    data = run.open_data(run.open_start().layout)
    numpy.save(run.folder.path / "targets.npy", data.targets(data.train_rows))
    (run.folder.path / "texts.json").write_text(json.dumps(asked[:train]))
    yield {}


def ours(folder: str, precision: Precision, batch_size: int = BATCH, device: str = "cpu") -> Iterator[Result]:
    """The side of leafkit: `Loop` as `leafkit distill` runs it, with validation and checkpoints only at the ends."""
    import torch

    from leafkit.training.recipe import Recipe

    shipped = Recipe().on(device).precision
    recipe = Recipe(precision=precision, batch_size=batch_size, valid_every=1 << 30).on(device)
    run = _run(folder, recipe, device)
    data = run.open_data(run.open_start().layout)
    yield {
        "ships with": shipped,
        "precision": recipe.precision,
        "threads": torch.get_num_threads(),
        "mean tokens": float(data.tokens.lengths.mean()),
    }
    for number in itertools.count():
        place = run.folder.path / f"checkpoints-{precision}-{number}"
        yield {"rate": _rate(_loop_times(run, data, place), batch_size)}


def theirs(folder: str, precision: str) -> Iterator[Result]:
    """The side of sentence-transformers: its trainer with its defaults, but no logs, bars or checkpoints."""
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

    run = Path(folder)
    targets = numpy.load(run / "targets.npy")
    texts = json.loads((run / "texts.json").read_bytes())
    rows = Dataset.from_dict({"text": texts, "label": targets.tolist()})
    tokens = SentenceTransformer(str(run / "start"), device="cpu").max_seq_length
    yield {"precision": precision, "threads": torch.get_num_threads(), "tokens": tokens}
    while True:
        times = _trainer_times(str(run / "start"), rows, run / f"trainer-{precision}", bfloat16=precision == "bfloat16")
        yield {"rate": _rate(dict(enumerate(times, 1)), BATCH)}


def _cache(folder: str) -> Path:
    # Outside the run folder, which every run deletes.
    return Path(folder).parent / "cache"


def _run(folder: str, recipe: Recipe, device: str) -> Run:
    """Open a run of LEAF alone in the run folder ``folder``; no student is written at its end."""
    from accelerate import Accelerator

    from leafkit.methods.objectives.leaf import Leaf
    from leafkit.methods.plan import make_plan
    from leafkit.training.recipe import RunOptions
    from leafkit.training.run import Run
    from leafkit.training.run_folder import RunFolder

    return Run(
        student=None,
        plan=make_plan([Leaf(distance=recipe.objective)]),
        recipe=recipe,
        options=RunOptions(cache=_cache(folder)),
        out=Path(folder) / "student",
        folder=RunFolder(Path(folder)),
        accelerator=Accelerator(mixed_precision="no"),
        device=device,
    )


def _loop_times(run: Run, data: TrainingData, checkpoints: Path) -> dict[int, float]:
    """Return the end time of each step whose loss was read.

    On a CPU that is every step. On a GPU it is a step now and then, because reading a loss waits for the GPU.
    """
    from leafkit.training.checkpoint import Checkpoints
    from leafkit.training.forward import StudentForward
    from leafkit.training.loop import Loop

    times: dict[int, float] = {}

    def note(step: int, figures: dict[str, float]) -> None:
        if "train/loss" in figures:
            times.setdefault(step, time.perf_counter())

    Loop(
        run=run,
        forward=StudentForward(run.open_start(), run.recipe.precision),
        data=data,
        checkpoints=Checkpoints(checkpoints),
        report=note,
    ).train()
    return times


def _trainer_times(student: str, rows: Any, out: Path, *, bfloat16: bool) -> list[float]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(student, device="cpu")
    steps = -(-len(rows) // BATCH)
    return train_rival(model, rows, out, steps=steps, batch_size=BATCH, learning_rate=1e-4, bfloat16=bfloat16)


def _rate(times: Mapping[int, float], batch_size: int) -> float:
    """Return the texts per second from the end of the first step that counts to the end of the last."""
    first, last = min(step for step in times if step >= WARM), max(times)
    return (last - first) * batch_size / (times[last] - times[first])
