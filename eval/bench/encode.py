"""Teacher encoding of documents: texts per second, and the cosine to the vectors of sentence-transformers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from eval.bench.figure import Figure, Requirement, Spread
from eval.bench.side import Result, Side, take_turns
from eval.bench.workload import Workload, read_documents

if TYPE_CHECKING:
    from leafkit.teachers.options import Compute

LEAST_RATIO, LEAST_COSINE = 1.8, 0.999
WARM = 16


def measure(workload: Workload, *, rounds: int, texts: int) -> list[Figure]:
    """Measure ``texts`` documents: with leafkit's defaults, and in float32 as sentence-transformers computes."""
    common = {"documents": str(workload.documents_file), "texts": texts}
    out = {name: str(workload.work / f"encoded-{name}.npy") for name in ("auto", "float32", "theirs")}
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(
                Side(f"{__name__}:ours", {**common, "teacher": workload.teacher, "compute": name, "out": out[name]})
            )
            for name in ("auto", "float32")
        }
        theirs = {**common, "model": workload.model, "out": out["theirs"]}
        sides["theirs"] = stack.enter_context(Side(f"{__name__}:theirs", theirs))
        results = take_turns(sides, rounds)
        facts = {name: side.facts for name, side in sides.items()}
    expected = numpy.load(out["theirs"])
    return [
        _figure(name, results, facts, least_cosine(numpy.load(out[name]), expected), texts=texts)
        for name in ("auto", "float32")
    ]


def least_cosine(ours: numpy.ndarray, theirs: numpy.ndarray) -> float:
    """Return the smallest cosine between corresponding rows."""
    ours, theirs = ours.astype(numpy.float64), theirs.astype(numpy.float64)
    lengths = numpy.linalg.norm(ours, axis=1) * numpy.linalg.norm(theirs, axis=1)
    return float(((ours * theirs).sum(axis=1) / lengths).min())


def ours(documents: str, texts: int, teacher: str, compute: Compute, out: str) -> Iterator[Result]:
    """The side of leafkit: `open_teacher`, as `leafkit index` and `leafkit embed` use it."""
    import torch

    from leafkit.teachers.open import open_teacher

    contents = sample(documents, texts)
    opened: Any = open_teacher(teacher, compute=compute, device="cpu")  # a sentence-transformers model
    numpy.save(out, opened.encode(contents[:WARM], "document"))
    dtypes = sorted({str(p.dtype).removeprefix("torch.") for p in opened.model.parameters()})
    yield {"computes in": "+".join(dtypes), "threads": torch.get_num_threads()}
    while True:
        started = time.perf_counter()
        vectors = opened.encode(contents, "document")
        seconds = time.perf_counter() - started
        numpy.save(out, vectors)
        yield {"rate": len(contents) / seconds}


def theirs(documents: str, texts: int, model: str, out: str) -> Iterator[Result]:
    """The side of sentence-transformers: `encode_document` with its defaults, including the document prompt."""
    import torch
    from sentence_transformers import SentenceTransformer

    contents = sample(documents, texts)
    opened = SentenceTransformer(model, device="cpu")
    opened.encode_document(contents[:WARM])
    dtypes = sorted({str(p.dtype).removeprefix("torch.") for p in opened.parameters()})
    yield {"computes in": "+".join(dtypes), "threads": torch.get_num_threads(), "tokens": opened.max_seq_length}
    while True:
        started = time.perf_counter()
        vectors = opened.encode_document(contents)
        seconds = time.perf_counter() - started
        numpy.save(out, vectors)
        yield {"rate": len(contents) / seconds}


def sample(documents: str | Path, texts: int) -> list[str]:
    """Return the contents of ``texts`` documents, spread evenly over the file."""
    rows = read_documents(documents)
    chosen = rows[:: max(1, len(rows) // texts)][:texts]
    return [f"{row['title']} {row['text']}".strip() for row in chosen]


def _figure(
    name: str, results: dict[str, list[Result]], facts: dict[str, Result], cosine: float, *, texts: int
) -> Figure:
    shipped = name == "auto"
    about: dict[str, Any] = {
        "documents": texts,
        "least cosine": cosine,
        "ours in": facts[name]["computes in"],
        "theirs in": facts["theirs"]["computes in"],
        "longest": f"{facts['theirs']['tokens']} tokens",
        "threads": facts[name]["threads"],
    }
    return Figure(
        name="encode documents" + ("" if shipped else ", float32"),
        unit="texts/s",
        ours=Spread(tuple(result["rate"] for result in results[name])),
        theirs=Spread(tuple(result["rate"] for result in results["theirs"])),
        more_is_better=True,
        least_ratio=LEAST_RATIO if shipped else None,
        requirements=(Requirement("least cosine", cosine, LEAST_COSINE),),
        facts=about,
    )
