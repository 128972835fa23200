"""``python -m eval.fingerprints MODEL...``: how far copies and changed versions of a model are from its fingerprint.

The least cosine of each row says on which side of `leafkit.vectors.fingerprint.MIN_COSINE` a teacher falls. Copies are
the same weights in another precision; changes are other prompts, poolings, lengths and weights.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from leafkit.command import command_line, exit_on_error
from leafkit.evaluation.compare.report import markdown_table
from leafkit.evaluation.provenance import commit, packages
from leafkit.files.atomic import write_json
from leafkit.students.student import transformer_of
from leafkit.teachers.open import open_teacher
from leafkit.teachers.sentence_transformer import SentenceTransformerTeacher, set_compute
from leafkit.vectors.fingerprint import MIN_COSINE, Fingerprint, take_fingerprint

COPY, CHANGE = "copy", "change"
PAGES = Path("models/quickstart/corpus.jsonl.gz")
NOISE = (0.001, 0.01, 0.03)
TUNINGS = ((5, 1e-5), (20, 1e-5), (20, 2e-5), (100, 2e-5))
BATCH, TUNED_TOKENS, TEMPERATURE = 16, 64, 0.05


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
    def correct(self) -> bool:
        """Whether the bounds call a copy the same space, and a change another one."""
        return (self.cosine >= MIN_COSINE and self.length >= 0.99) == (self.kind == COPY)


Version = tuple[str, str, Callable[[], SentenceTransformerTeacher]]


def measure(name: str, teacher: SentenceTransformerTeacher, versions: Iterator[Version]) -> Iterator[Row]:
    """Yield how each version of ``teacher`` agrees with the fingerprint of ``teacher``."""
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


def changes(teacher: SentenceTransformerTeacher) -> Iterator[Version]:
    """Yield other prompts, lengths, poolings and weights."""
    for prompt in {"": "no prompt", "query: ": "another prompt"}.items():
        if prompt[0] != teacher.space.query_prompt:
            yield CHANGE, prompt[1], lambda text=prompt[0]: teacher.with_fields({"query_prompt": text})
    half = (teacher.space.max_length or 0) // 2
    yield CHANGE, "half the length", lambda: _changed(teacher, lambda model: setattr(model, "max_seq_length", half))
    yield CHANGE, "another pooling", lambda: _changed(teacher, _pool_otherwise)
    yield CHANGE, "a layer dropped", lambda: _changed(teacher, _drop_layer)
    for size in NOISE:
        yield CHANGE, f"noise of {size:.1%}", lambda size=size: _changed(teacher, lambda model: _add_noise(model, size))


def tunings(teacher: SentenceTransformerTeacher, most_steps: int) -> Iterator[Version]:
    """Yield contrastive fine-tunings on title and text of help pages, of at most ``most_steps`` steps."""
    for steps, rate in TUNINGS:
        if steps <= most_steps:
            tune = lambda model, steps=steps, rate=rate: _tune(model, steps, rate)  # noqa: E731
            yield CHANGE, f"{steps} steps at {rate:g}", lambda tune=tune: _changed(teacher, tune)


def _changed(teacher: SentenceTransformerTeacher, change: Callable[[Any], object]) -> SentenceTransformerTeacher:
    model = copy.deepcopy(teacher.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        change(model)
    return SentenceTransformerTeacher(model, replace(teacher.space))


def _pool_otherwise(model: Any) -> None:
    pooling = next(module for module in model if hasattr(module, "pooling_mode"))
    pooling.pooling_mode = "mean" if "cls" in pooling.pooling_mode else "cls"


def _drop_layer(model: Any) -> None:
    transformer: Any = transformer_of(model)
    del transformer.encoder.layer[len(transformer.encoder.layer) // 2]


@torch.no_grad()
def _add_noise(model: Any, size: float) -> None:
    for weight in model.parameters():
        weight += size * weight.std() * torch.randn_like(weight) if weight.numel() > 1 else 0


def _tune(model: Any, steps: int, rate: float) -> None:
    with gzip.open(PAGES, "rt", encoding="utf-8") as file:
        pages = [(page["title"], page["text"]) for page in map(json.loads, file)]
    draw = random.Random(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate)
    for _ in range(steps):
        sides = zip(*draw.sample(pages, BATCH), strict=True)
        titles, texts = (_short_vectors(model, list(side)) for side in sides)
        loss = torch.nn.functional.cross_entropy(titles @ texts.T / TEMPERATURE, torch.arange(BATCH))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


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
        cells = [found.get((version, model)) for model in models]
        shown = ["" if row is None else f"{row.cosine:.5f}{'' if row.correct else ' (wrong side)'}" for row in cells]
        lines.append([kind, version, *shown])
    return markdown_table(lines, ["---", "---", *("---:" for _ in models)])


def main(
    models: Annotated[list[str], typer.Argument(help="Teachers of the kind sentence-transformers, or NAME=TEACHER.")],
    out: Annotated[Path, typer.Option(help="The result file to write.")],
    also: Annotated[
        list[str] | None, typer.Option(help="NAME=VERSION=FOLDER: an ONNX copy of the model NAME. May be repeated.")
    ] = None,
    most_steps: Annotated[int, typer.Option(help="Leave out longer fine-tunings.")] = 100,
) -> None:
    """Measure the margin of fingerprints on real models."""
    rows: list[Row] = []
    for model in models:
        name, _, place = model.rpartition("=")
        teacher: Any = open_teacher(place, compute="float32", device="cpu")
        name, known = name or teacher.space.teacher, take_fingerprint(teacher)
        for given in (entry.split("=", 2) for entry in also or ()):
            if given[0] == name:
                options = {"pooling": teacher.space.pooling, "max_length": teacher.space.max_length}
                onnx = open_teacher(given[2], **options, query_prompt=teacher.space.query_prompt)
                rows.append(compare(name, COPY, given[1], known, take_fingerprint(onnx)))
        for versions in (copies(teacher), changes(teacher), tunings(teacher, most_steps)):
            for row in measure(name, teacher, versions):
                rows.append(row)
                typer.echo(f"{name}, {row.version}: {row.cosine:.6f}", err=True)
    provenance = {"command": command_line(), "commit": commit(), "seed": 0, "packages": packages()}
    write_json(out, {"rows": [asdict(row) for row in rows], "provenance": provenance})
    typer.echo(table(rows))


if __name__ == "__main__":
    with exit_on_error():
        typer.run(main)
