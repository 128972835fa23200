"""The README.md of a student: what it is, how it was made, how near it comes, how it is used."""

from __future__ import annotations

from typing import Any

from leafkit.files.atomic import write_file
from leafkit.space import describe
from leafkit.students.folder import StudentFacts

CARD = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [sentence-transformers, feature-extraction, sentence-similarity, knowledge-distillation, leafkit]
---

# {name}

A small text encoder that writes into the vector space of **{teacher}** ({dim} numbers a text). Its query vectors
search an index of the teacher's document vectors {coordinates}. Made with leafkit {version}, by the method of
[LEAF](https://arxiv.org/abs/2509.12539).

| | |
|---|---|
| starts from | `{student}`{layers} |
| parameters | {parameters:,} |
| vector space | {space} |
| vectors | {vectors} |

## Use

With [sentence-transformers](https://sbert.net) alone; prompts are built in:

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
queries = model.encode_query(["how do I list files?"])
documents = model.encode_document(["ls lists the files of a folder"])
```

With leafkit, on a host without torch:

```python
import leafkit

queries = leafkit.QueryEncoder.open("{name}").encode(["how do I list files?"], "query")
```

## How near it comes to its teacher

On {validation:,} held-out texts, none of which was trained on:

| | start | this student |
|---|---:|---:|
{figures}

The start is the same model with {start} and no training step. Overlap is the share of the teacher's ten nearest
neighbours that the student's vector finds among the teacher's vectors.

## Training

{training:,} distinct texts ({repeated:,} repetitions left out), {steps:,} steps; the student kept is the one of step
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

It imitates its teacher and inherits the teacher's errors, languages and biases; on texts unlike those above it comes
less near. It belongs to vectors of the space `{space_id}` only: those of another model, or of the same one with other
prompts or another length, cannot be compared with it.

## Licence

None is set here. The student is derived from its base model (`{student}`) and from the outputs of {teacher}; what
their licences and those of the texts ask for applies to it.
"""

FIGURES = {
    "cosine_mean": "cosine, mean",
    "cosine_p5": "cosine, 5th percentile",
    "overlap_at_10": "overlap of the 10 nearest neighbours",
    "distance": "distance, mean",
    "spread": "variance relative to the teacher's",
}


def write_card(facts: StudentFacts, *, name: str) -> None:
    """Write README.md into the student's folder; ``name`` is what the folder will be called."""
    training, data = facts.training, facts.training["data"]
    text = CARD.format(
        name=name,
        teacher=facts.space.teacher,
        dim=facts.space.dim,
        version=training["versions"]["leafkit"],
        student=training["student"],
        layers=_layers(training["head"]),
        parameters=_parameters(facts),
        space=describe(facts.space),
        space_id=facts.space.id,
        coordinates="in the coordinates that mapping.npz makes" if facts.space.rotation else "as it stands",
        vectors="unit-norm" if facts.space.normalised else "not normalised, as the teacher's",
        validation=data["validation"],
        figures=_rows((title, _4(training["start"][f]), _4(training["best"][f])) for f, title in FIGURES.items()),
        start=_start(training["head"]),
        training=data["training"],
        repeated=data["repeated"],
        steps=training["steps"],
        best=training["best"]["step"],
        why="the last" if training["recipe"].get("keep") == "last" else "the best by mean cosine",
        sources=_rows((row["role"], row["source"], f"{row['texts']:,}") for row in data["counts"]),
        recipe=_rows([("methods", ", ".join(training["methods"])), *_spaced(training["recipe"])]),
        command=training["command"],
        versions=", ".join(f"{package} {version}" for package, version in training["versions"].items()),
    )
    # Names of files may be no UTF-8.
    write_file(facts.path / "README.md", text.encode("utf-8", "replace"))


def _spaced(recipe: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(key.replace("_", " "), value) for key, value in recipe.items()]


def _layers(start: dict[str, Any]) -> str:
    """Which layers were picked, if any were."""
    return f": layers {', '.join(map(str, start['layers']))}, counted from 0" if "layers" in start else ""


def _start(start: dict[str, Any]) -> str:
    """What was solved for before the first step."""
    if "ridge" not in start:
        return "a random head"
    return f"the {start['ridge'].get('of', 'head')}'s closed-form (ridge) solution"


def _parameters(facts: StudentFacts) -> int:
    from safetensors import safe_open

    count = 0
    for name in facts.weights:
        with safe_open(str(facts.path / name), framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118 - not a dict
                size = 1
                for length in file.get_slice(key).get_shape():
                    size *= length
                count += size
    return count


def _rows(rows: Any) -> str:
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _4(value: float) -> str:
    return f"{value:.4f}"
