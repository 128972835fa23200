"""``python -m eval.fingerprints MODEL...``: how far copies and changed versions of a model are from its fingerprint.

The least cosine of each row says on which side of `leafkit.vectors.fingerprint.MIN_COSINE` a teacher falls. Copies are
the same weights in another precision or format; changes are other prompts, poolings, lengths and weights.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import onnx
import torch
import typer
from onnxruntime.quantization import quantize_dynamic
from sentence_transformers.sentence_transformer.modules import Normalize

from leafkit.command import command_line, exit_on_error
from leafkit.evaluation.compare.report import markdown_table
from leafkit.evaluation.provenance import commit, packages
from leafkit.files.atomic import write_json
from leafkit.onnx.teacher import export_teacher
from leafkit.students.student import transformer_of
from leafkit.teachers.open import open_teacher
from leafkit.teachers.sentence_transformer import SentenceTransformerTeacher, set_compute
from leafkit.types import Teacher
from leafkit.vectors.fingerprint import MIN_COSINE, MIN_LENGTH, Fingerprint, take_fingerprint

COPY, CHANGE = "copy", "change"
PAGES = Path("models/quickstart/corpus.jsonl.gz")
NOISE = (0.001, 0.01)
STEPS = (1, 5, 20, 200)  # of fine-tuning, after which the model is measured
BATCH, TUNED_TOKENS, RATE, TEMPERATURE = 8, 16, 1e-5, 0.05


@dataclass(frozen=True, kw_only=True)
class Row:
    """One version of ``model``: a copy, or a change that makes another space; with its agreement with the original."""

    model: str
    kind: str
    version: str
    cosine: float
    length: float
    text: str

    @property
    def accepted(self) -> bool:
        """Whether the bounds call this version the same space."""
        return self.cosine >= MIN_COSINE and self.length >= MIN_LENGTH

    def __str__(self) -> str:
        length = f", length {self.length:.2f}" if self.length < MIN_LENGTH else ""
        wrong = "" if self.accepted == (self.kind == COPY) else " (accepted)" if self.accepted else " (refused)"
        return f"{self.cosine:.5f}{length}{wrong}"


Version = tuple[str, str, Callable[[], Teacher]]


def measure(name: str, teacher: Teacher, versions: Iterator[Version]) -> Iterator[Row]:
    """Yield how each version of ``teacher`` agrees with the fingerprint of ``teacher``.

    A version is made and measured before the next one is asked for.
    """
    known = take_fingerprint(teacher)
    for kind, version, make in versions:
        yield compare(name, kind, version, known, take_fingerprint(make()))


def compare(name: str, kind: str, version: str, known: Fingerprint, got: Fingerprint) -> Row:
    """Return the row of one version, whose fingerprint is ``got``."""
    agreement = known.agreement(got)
    if agreement is None:
        raise ValueError(f"{version} of {name} has vectors of another width")
    return Row(
        model=name, kind=kind, version=version, cosine=agreement.cosine, length=agreement.length, text=agreement.text
    )


def copies(teacher: SentenceTransformerTeacher) -> Iterator[Version]:
    """Yield the same weights, rounded or computed in another precision."""
    for dtype in (torch.float16, torch.bfloat16):
        short = str(dtype).removeprefix("torch.")

        def rounded(dtype: torch.dtype = dtype) -> SentenceTransformerTeacher:
            return _changed(teacher, lambda model: model.to(dtype).float())

        def computed(short: str = short) -> SentenceTransformerTeacher:
            return _changed(teacher, lambda model: set_compute(model, short))

        yield COPY, f"weights in {short}", rounded
        yield COPY, f"computed in {short}", computed


def graphs(place: str, teacher: SentenceTransformerTeacher) -> Iterator[Version]:
    """Yield the teacher at ``place`` as a graph in float32, and the same graph quantised to int8 by onnxruntime."""
    with tempfile.TemporaryDirectory() as temporary:
        exact, rounded = Path(temporary, "float32"), Path(temporary, "int8")
        export_teacher(place, exact)
        yield COPY, "ONNX in float32", lambda: open_teacher(exact)
        shutil.copytree(exact, rounded, ignore=shutil.ignore_patterns("teacher.json", "onnx"))
        graph = onnx.load(str(exact / "onnx" / "model.onnx"))
        del graph.graph.value_info[:]  # the exporter's inferred shapes contradict those of the quantiser
        quantize_dynamic(graph, rounded / "model.onnx")
        yield COPY, "ONNX in int8", lambda: open_copy(rounded, teacher)


def open_copy(folder: str | Path, teacher: Teacher) -> Teacher:
    """Open a folder with a graph of ``teacher``, and take from ``teacher`` what the folder need not record."""
    fields = ("max_length", "query_prompt", "document_prompt", "normalised")
    pooling = teacher.space.pooling
    return open_teacher(folder, pooling=pooling, **{name: getattr(teacher.space, name) for name in fields})


def changes(teacher: SentenceTransformerTeacher) -> Iterator[Version]:
    """Yield other prompts, lengths, poolings and weights."""
    for prompt in {"": "no prompt", "query: ": "another prompt"}.items():
        if prompt[0] != teacher.space.query_prompt:
            yield CHANGE, prompt[1], lambda text=prompt[0]: teacher.with_fields({"query_prompt": text})
    half = (teacher.space.max_length or 0) // 2
    yield CHANGE, "half the length", lambda: _changed(teacher, lambda model: setattr(model, "max_seq_length", half))
    yield CHANGE, "another pooling", lambda: _changed(teacher, _pool_otherwise)
    switched = "not normalised" if teacher.space.normalised else "normalised"
    yield CHANGE, switched, lambda: _changed(teacher, _switch_normalisation)
    yield CHANGE, "a layer dropped", lambda: _changed(teacher, _drop_layer)
    for size in NOISE:
        yield CHANGE, f"noise of {size:.1%}", lambda size=size: _changed(teacher, lambda model: _add_noise(model, size))


def tunings(teacher: SentenceTransformerTeacher, most_steps: int) -> Iterator[Version]:
    """Yield the states of one contrastive fine-tuning on title and text of help pages, up to ``most_steps`` steps."""
    tuned = _changed(teacher, lambda model: None)
    for step, _ in zip(range(1, most_steps + 1), _tune(tuned.model), strict=False):
        if step in STEPS:
            yield CHANGE, f"step {step} of a fine-tuning", lambda: tuned


def _changed(teacher: SentenceTransformerTeacher, change: Callable[[Any], object]) -> SentenceTransformerTeacher:
    model = copy.deepcopy(teacher.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        change(model)
    return SentenceTransformerTeacher(model, replace(teacher.space))


def _pool_otherwise(model: Any) -> None:
    pooling = next(module for module in model if hasattr(module, "pooling_mode"))
    pooling.pooling_mode = "mean" if "cls" in pooling.pooling_mode else "cls"


def _switch_normalisation(model: Any) -> None:
    if isinstance(model[-1], Normalize):
        del model[-1]
    else:
        model.append(Normalize())


def _drop_layer(model: Any) -> None:
    transformer: Any = transformer_of(model)
    del transformer.encoder.layer[len(transformer.encoder.layer) // 2]


@torch.no_grad()
def _add_noise(model: Any, size: float) -> None:
    for weight in model.parameters():
        weight += size * weight.std() * torch.randn_like(weight) if weight.numel() > 1 else 0


def _tune(model: Any) -> Iterator[None]:
    with gzip.open(PAGES, "rt", encoding="utf-8") as file:
        pages = [(page["title"], page["text"]) for page in map(json.loads, file)]
    draw = random.Random(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    while True:
        sides = zip(*draw.sample(pages, BATCH), strict=True)
        titles, texts = (_short_vectors(model, list(side)) for side in sides)
        loss = torch.nn.functional.cross_entropy(titles @ texts.T / TEMPERATURE, torch.arange(BATCH))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield


def _short_vectors(model: Any, texts: list[str]) -> torch.Tensor:
    features = model.preprocess(texts)
    short = {
        name: value[:, :TUNED_TOKENS] if isinstance(value, torch.Tensor) and value.ndim == 2 else value
        for name, value in features.items()
    }
    return torch.nn.functional.normalize(model(short)["sentence_embedding"], dim=1)


def table(rows: list[Row]) -> str:
    """Return a Markdown table: a line for each version, and the least cosine of each model."""
    models = list(dict.fromkeys(row.model for row in rows))
    found = {(row.version, row.model): row for row in rows}
    lines = [["", "version", *models]]
    for kind, version in dict.fromkeys((row.kind, row.version) for row in rows):
        lines.append([kind, version, *(str(found.get((version, model), "")) for model in models)])
    return markdown_table(lines, ["---", "---", *("---:" for _ in models)])


def main(
    models: Annotated[list[str], typer.Argument(help="Teachers of the kind sentence-transformers, or NAME=TEACHER.")],
    out: Annotated[Path, typer.Option(help="The result file to write.")],
    also: Annotated[
        list[str] | None, typer.Option(help="NAME=VERSION=FOLDER: an ONNX copy of the model NAME. May be repeated.")
    ] = None,
    most_steps: Annotated[int, typer.Option(help="Leave out longer fine-tunings.")] = max(STEPS),
) -> None:
    """Measure the margin of fingerprints on real models."""
    rows: list[Row] = []
    given = [entry.split("=", 2) for entry in also or ()]
    for model in models:
        name, _, place = model.rpartition("=")
        teacher: Any = open_teacher(place, compute="float32", device="cpu")
        others = [
            (COPY, version, lambda folder=folder, teacher=teacher: open_copy(folder, teacher))
            for owner, version, folder in given
            if owner == name
        ]
        made = (copies(teacher), graphs(place, teacher), others, changes(teacher), tunings(teacher, most_steps))
        for row in measure(name or teacher.space.teacher, teacher, chain.from_iterable(made)):
            rows.append(row)
            typer.echo(f"{row.model}, {row.version}: {row}", err=True)
    provenance = {"command": command_line(), "commit": commit(), "seed": 0, "packages": packages()}
    write_json(out, {"rows": [asdict(row) for row in rows], "provenance": provenance})
    typer.echo(table(rows))


if __name__ == "__main__":
    with exit_on_error():
        typer.run(main)
