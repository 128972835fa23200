"""Seconds and memory of a training step with and without a live teacher, for texts of 32 and of 128 tokens."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from eval.bench.figure import Figure, Spread
from eval.bench.machine import peak_memory
from eval.bench.side import Result, Side, take_turns
from eval.bench.workload import Workload

LENGTHS = (32, 128)
BATCH = 32
# Steps of one round, after as many that do not count.
STEPS = 3


def measure(workload: Workload, *, rounds: int) -> list[Figure]:
    """Measure steps of the main student on batches of 32 texts, all of the same number of tokens."""
    figures = []
    for length in LENGTHS:
        arguments = {"teacher": workload.teacher, "student": workload.students[0], "length": length}
        with ExitStack() as stack:
            sides = {
                name: stack.enter_context(Side(f"{__name__}:steps", {**arguments, "live": name == "live"}))
                for name in ("live", "alone")
            }
            results = take_turns(sides, rounds)
            facts = sides["live"].facts
        seconds = {name: [result["seconds"] for result in found] for name, found in results.items()}
        peaks = {name: max(result["peak"] for result in found) for name, found in results.items()}
        alone = statistics.median(seconds["alone"])
        figures.append(
            Figure(
                name=f"step with a live teacher, {length} tokens",
                unit="s",
                ours=Spread(tuple(seconds["live"])),
                facts={
                    "student": workload.students[0],
                    "batch": BATCH,
                    "s without the teacher": alone,
                    "times as long": statistics.median(seconds["live"]) / alone,
                    "MB": peaks["live"],
                    "MB without the teacher": peaks["alone"],
                    **facts,
                },
            )
        )
    return figures


def steps(teacher: str, student: str, length: int, live: bool) -> Iterator[Result]:
    """A side that takes LEAF's steps on random token ids; ``live`` asks the teacher for token states in each step."""
    import torch

    from leafkit.students.build import build_student
    from leafkit.students.spec import parse_student
    from leafkit.teachers.open import open_teacher
    from leafkit.training.forward import StudentForward
    from leafkit.training.live import LiveTeacher, live_model
    from leafkit.training.optimiser import adamw
    from leafkit.training.recipe import Recipe
    from leafkit.training.source import open_source, teacher_model

    opened, spec, precision = open_teacher(teacher, device="cpu"), parse_student(student), Recipe().on("cpu").precision
    name, model = teacher_model(opened), live_model(opened)
    made = build_student(spec, opened, source=open_source(spec, name), teacher_model=name)
    forward = StudentForward(made, precision).train()
    frozen = LiveTeacher(model, precision) if live and model is not None else None
    length = min(length, made.body.longest_input())
    optimiser = adamw(made.model, learning_rate=1e-4, weight_decay=0.01)
    draw = torch.Generator().manual_seed(0)
    words = made.transformer.config.vocab_size
    ids = torch.randint(words // 2, words, (BATCH, length), generator=draw)  # none of the special tokens
    features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    target = torch.nn.functional.normalize(torch.randn(BATCH, opened.space.dim, generator=draw), dim=-1)
    del opened, model

    def step() -> float:
        start = time.perf_counter()
        found = forward(dict(features), tokens=live)
        if frozen is not None and found.tokens is not None:
            frozen.token_states(features, found.tokens)
        (found.student - target).norm(dim=-1).mean().backward()
        optimiser.step()
        optimiser.zero_grad()
        return time.perf_counter() - start

    for _ in range(STEPS):
        step()
    yield {"tokens": length, "in": precision, "threads": torch.get_num_threads()}
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of opening the models
    for _ in itertools.count():
        yield {"seconds": statistics.median(step() for _ in range(STEPS)), "peak": peak_memory()}
