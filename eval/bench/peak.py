"""The share of the machine that training uses: FLOPs per second of the student over those of bare matrix products."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from eval.bench import train
from eval.bench.figure import Figure, Spread
from eval.bench.side import Result, Side, take_turns
from eval.bench.workload import Workload

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.students.student import Student

# Rows and columns of the matrices. The fastest size counts; it differs between machines.
SIZES = (1024, 2048, 4096)
SIZES_CUDA = (4096, 8192, 16384)
SECONDS = 1.0


def measure(workload: Workload, *, rounds: int, steps: int, batch_size: int, device: str) -> list[Figure]:
    """Measure the share of ``steps`` steps of the first student on queries, after ten that do not count.

    Only matrix products of the forward and backward pass count, including the two of attention, and only over tokens
    that are not padding ("model FLOPs", https://arxiv.org/abs/2204.02311, appendix B). Both sides compute in the
    precision that leafkit trains in on ``device``.
    """
    folder = train.run_folder(workload, "peak", steps=steps, batch_size=batch_size)
    with Side(f"{__name__}:work", {"folder": folder}) as side:
        flops = side.facts["FLOPs a text"]
    arguments = {"folder": folder, "precision": "auto", "batch_size": batch_size, "device": device}
    with (
        Side(f"{train.__name__}:ours", arguments) as loop,
        Side(f"{__name__}:products", {"device": device}) as bare,
    ):
        results = take_turns({"loop": loop, "products": bare}, rounds)
    rates = [result["rate"] for result in results["loop"]]
    peak = max(result["rate"] for result in results["products"])
    return [
        Figure(
            name="train, of the machine's matrix products",
            unit="%",
            ours=Spread(tuple(100 * rate * flops / peak for rate in rates)),
            more_is_better=True,
            facts={
                "student": workload.students[0],
                "batch": batch_size,
                "steps": steps,
                "texts/s": statistics.median(rates),
                "mean tokens": loop.facts["mean tokens"],
                "GFLOPs a text": flops / 1e9,
                "peak TFLOP/s": peak / 1e12,
                "in": loop.facts["precision"],
                "device": bare.facts["device"],
                "threads": loop.facts["threads"],
            },
        )
    ]


def work(folder: str) -> Iterator[Result]:
    """A side that yields the mean FLOPs that training spends on one text of the run folder."""
    import numpy

    from leafkit.students.encoder import open_student
    from leafkit.training.data import TokenFile
    from leafkit.training.run_folder import RunFolder

    start = RunFolder(Path(folder)).start
    student = open_student(start, device="cpu").student
    tokens = TokenFile(start / "tokens", student.layout)
    lengths, first, counts = numpy.unique(tokens.lengths, return_index=True, return_counts=True)
    found = [flops_of(student, tokens.features(first[place : place + 1])) for place in range(len(lengths))]
    yield {"FLOPs a text": float(numpy.average(found, weights=counts))}


def flops_of(student: Student, features: dict[str, Tensor]) -> int:
    """Return the FLOPs of the matrix products in the student's forward and backward pass over ``features``."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from leafkit.training.forward import StudentForward

    forward = StudentForward(student, "float32")
    counter = FlopCounterMode(display=False)
    # The counter does not count the fused attention of the CPU.
    with sdpa_kernel(SDPBackend.MATH), counter:
        forward.vectors(dict(features)).sum().backward()
    student.model.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def products(device: str) -> Iterator[Result]:
    """The other side: FLOPs per second of square matrix products of the fastest size."""
    import torch
    from torch.utils.benchmark import Timer

    from leafkit.training.recipe import Recipe

    dtype = getattr(torch, Recipe().on(device).precision)
    cuda = device.startswith("cuda")
    yield {"device": torch.cuda.get_device_name(device) if cuda else device}
    while True:
        rates = []
        for size in SIZES_CUDA if cuda else SIZES:
            left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
            timer = Timer("left @ right", globals={"left": left, "right": right}, num_threads=torch.get_num_threads())
            rates.append(2 * size**3 / timer.blocked_autorange(min_run_time=SECONDS).median)
        yield {"rate": max(rates)}
