"""The model card (README.md) of a student: what it is, how to use it, its figures, and how it was trained."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from leafkit.files.atomic import write_file
from leafkit.prompts import describe_prompts
from leafkit.space import describe
from leafkit.students.card_metadata import CARD_FILE, licence_text, read_card, stated_in, tags_of, with_metadata
from leafkit.students.folder import StudentFacts
from leafkit.students.held_out import overlap_text

CARD = """
# {name}

A small text encoder that writes into the vector space of **{teacher}** ({dim} numbers a text). Its query vectors
search an index of the teacher's document vectors {coordinates}. It was made with leafkit {version} by the method
[LEAF](https://arxiv.org/abs/2509.12539).

| | |
|---|---|
| starting point | `{student}`{layers} |
| parameters | {parameters:,} |
| vector space | {space} |{prompts}
| vectors | {vectors} |

## Use

With plain [sentence-transformers](https://sbert.net); the prompts are built in:

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer({quoted})
queries = model.encode_query(["how do I list files?"])
documents = model.encode_document(["ls lists the files of a folder"])
```

With leafkit, on a host without torch:

```python
import leafkit

queries = leafkit.QueryEncoder.open({quoted}).encode(["how do I list files?"], "query")
```

## How close it is to its teacher

On {validation:,} held-out texts, none of which was trained on:

| | start | this student |
|---|---:|---:|
{figures}

The start is the same model with {start} and no training step. Overlap is the share of the teacher's ten nearest
neighbours that the student's vector finds among the teacher's vectors.

## Training

{training:,} distinct texts ({repeated:,} repetitions removed) and {steps:,} steps. This student is the one of step
{best:,}, {why}.

| role | source | texts |
|---|---|---:|
{sources}

| recipe | |
|---|---|
{recipe}

```
{command}
```

Versions: {versions}.

## Limits

The student imitates its teacher and inherits the teacher's errors, languages and biases. On texts unlike those above
its vectors are less close to the teacher's. Compare its vectors only with vectors of the space `{space_id}`: vectors
of another model, or of the same model with other prompts or another length limit, belong to another space.

## Licence

{licence} The student is derived from its base model (`{student}`) and from the outputs of {teacher}.
The terms of their licences, and of the licences of the training texts, apply to it.
"""

FIGURES = {
    "cosine_mean": "cosine, mean",
    "cosine_p5": "cosine, 5th percentile",
    "overlap_at_10": "overlap of the 10 nearest neighbours",
    "distance": "distance, mean",
    "spread": "variance relative to the teacher's",
}


def write_card(facts: StudentFacts, *, name: str) -> None:
    """Write README.md into the student's folder; ``name`` is the final name of that folder."""
    training, data = facts.training, facts.training["data"]
    licence = training.get("licence")
    text = CARD.format(
        name=name,
        quoted=json.dumps(name),
        licence=licence_text(licence),
        teacher=facts.space.teacher,
        dim=facts.space.dim,
        version=training["versions"]["leafkit"],
        student=training["student"],
        layers=_layers(training["head"]),
        parameters=_parameters(facts),
        space=describe(facts.space),
        prompts=_prompts(facts),
        space_id=facts.space.id,
        coordinates="after mapping.npz has rotated them" if facts.space.rotation else "without any change",
        vectors="unit-norm" if facts.space.normalised else "not normalised, like the teacher's",
        validation=data["validation"],
        figures=_rows(
            (title, *(_figure(f, training[when][f], data["validation"]) for when in ("start", "best")))
            for f, title in FIGURES.items()
        ),
        start=_closed_form(training["head"]),
        training=data["training"],
        repeated=data["repeated"],
        steps=training["steps"],
        best=training["best"]["step"],
        why="the last" if training["recipe"].get("keep") == "last" else "the best by mean cosine",
        sources=_rows((row["role"], row["source"], f"{row['texts']:,}") for row in data["counts"]),
        recipe=_rows(
            [
                ("methods", ", ".join(training["methods"])),
                *((key.replace("_", " "), value) for key, value in training["recipe"].items()),
            ]
        ),
        command=training["command"],
        versions=", ".join(f"{package} {version}" for package, version in training["versions"].items()),
    )
    text = with_metadata(text, tags=tags_of(facts.path), licence=licence, base_model=training.get("base_model"))
    # Names of files may not be valid UTF-8.
    write_file(facts.path / CARD_FILE, text.encode("utf-8", "replace"))


def copy_card(student: Path, folder: Path, *, licence: str | None = None) -> None:
    """Copy the card of ``student`` to the complete ``folder``, with the metadata that holds there.

    ``licence`` replaces the licence of the card, if given. Nothing is written for a student without a card.
    """
    card = read_card(student)
    if card is None:
        return
    if licence is not None:
        before = licence_text(stated_in(card).get("license"))
        card = card.replace(before, licence_text(licence))
    card = with_metadata(card, tags=tags_of(folder), licence=licence, base_model=None)
    write_file(folder / CARD_FILE, card.encode("utf-8", "replace"))


def _prompts(facts: StudentFacts) -> str:
    """Return a row with the prompts of the student; empty if they are those of its teacher."""
    if not facts.has_own_prompts:
        return ""
    prompts = describe_prompts(facts.prompts).replace("|", "\\|")
    return f"\n| prompts of this student | {prompts}, in place of the teacher's |"


def _figure(name: str, value: float | None, texts: int) -> str:
    """Return the figure ``name`` of ``texts`` held-out texts; an overlap only if there are enough of them."""
    return overlap_text(value, texts) if name == "overlap_at_10" else f"{value:.4f}"


def _layers(start: dict[str, Any]) -> str:
    """Return the layers that a greedy search picked as text; empty without such a search."""
    return f": layers {', '.join(map(str, start['layers']))}, counted from 0" if "layers" in start else ""


def _closed_form(start: dict[str, Any]) -> str:
    """Return in words how the head or token table was set before the first step."""
    if "ridge" not in start:
        return "a random head"
    return f"the {start['ridge'].get('of', 'head')}'s closed-form (ridge) solution"


def _parameters(facts: StudentFacts) -> int:
    from safetensors import safe_open

    count = 0
    for name in facts.weights:
        with safe_open(str(facts.path / name), framework="numpy") as file:
            count += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118 - no dict
    return count


def _rows(rows: Any) -> str:
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)
