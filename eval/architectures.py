"""Test the claim of DisWOT: a score that needs no training orders students as distilling them does.

``python -m eval.architectures --recipe eval/recipes/diswot.toml --count 24 --out architectures.json`` draws students at
random within the parameter budget of the recipe and distils all of them with it. Kendall's tau then compares their
scores before training with their held-out cosines after it.

Paper: https://arxiv.org/abs/2303.15678
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy
import typer

from leafkit.command import command_line, exit_on_error
from leafkit.errors import OptionError
from leafkit.evaluation.bootstrap import RESAMPLES, interval
from leafkit.evaluation.compare.recipes import RecipeEntry, read_entry
from leafkit.evaluation.metrics import Float64
from leafkit.evaluation.provenance import commit, packages
from leafkit.files.atomic import write_json
from leafkit.files.disk_errors import explain_disk_errors
from leafkit.files.progress import progress
from leafkit.methods.architectures.diswot import HIDDEN, Cost, Diswot, Scorer, Shape
from leafkit.methods.budget import Budget, parse_budget
from leafkit.methods.registry import parse_method
from leafkit.options import options_of
from leafkit.shipped import resolve_recipe
from leafkit.texts.options import TextOptions
from leafkit.training.corpus import read_corpus
from leafkit.training.distill import distill
from leafkit.types import Int64
from leafkit.vectors.store import default_cache

BASELINE = "parameters"


def draw_shapes(count: int, fits: Callable[[Shape], bool], seed: int) -> list[Shape]:
    """Draw ``count`` different shapes that fit the budget. Raise `OptionError` if there are too few."""
    generator, shape = random.Random(seed), Shape(layers=1, hidden=HIDDEN[0], heads=1, feed_forward=1)
    found: dict[Shape, None] = {}
    for _ in range(1000 * count):
        shape = shape.mutated(generator)
        if fits(shape):
            found[shape] = None
        if len(found) == count:
            return list(found)
    raise OptionError(f"found {len(found)} students within the budget; expected {count}. Raise the budget.")


def agreement(scores: Mapping[str, Sequence[float]], cosines: Sequence[float], *, seed: int) -> dict[str, Any]:
    """Return Kendall's tau of each of ``scores`` with ``cosines``, and its difference from that of the parameter count.

    Both have the middle 95 % over resampled students. An uninformative score has a tau of 0.
    """
    expected, everyone = numpy.asarray(cosines), numpy.arange(len(cosines))[None]
    draws = numpy.random.default_rng(seed).integers(len(expected), size=(RESAMPLES, len(expected)))
    exact = {name: float(_taus(numpy.asarray(each), expected, everyone)[0]) for name, each in scores.items()}
    drawn = {name: _taus(numpy.asarray(each), expected, draws) for name, each in scores.items()}
    return {
        name: {
            "tau": exact[name],
            **_bounds(drawn[name]),
            "above parameters": {"tau": exact[name] - exact[BASELINE], **_bounds(drawn[name] - drawn[BASELINE])},
        }
        for name in scores
    }


def _taus(left: Float64, right: Float64, draws: Int64) -> Float64:
    """Return Kendall's tau-b for each row of ``draws``; 0 where either side is constant."""
    counts = numpy.zeros((len(draws), len(left)))
    numpy.add.at(counts, (numpy.arange(len(draws))[:, None], draws), 1)
    ours, theirs = (numpy.sign(numpy.subtract.outer(side, side)) for side in (left, right))
    # Each sum runs over all pairs of drawn students: concordant ones less discordant ones, and those that differ.
    agreeing, untied, theirs_untied = (
        ((counts @ pairs) * counts).sum(axis=1) for pairs in (ours * theirs, abs(ours), abs(theirs))
    )
    return numpy.divide(
        agreeing, numpy.sqrt(untied * theirs_untied), out=numpy.zeros(len(draws)), where=untied * theirs_untied > 0
    )


def _bounds(taus: Float64) -> dict[str, float]:
    bounds = interval(taus)
    return {} if bounds is None else asdict(bounds)  # a tau is always finite


@dataclass(frozen=True, kw_only=True)
class RandomStudents:
    """Random students of one recipe. Results of finished students are kept below ``work`` and reused."""

    recipe: RecipeEntry
    work: Path
    cache: Path
    seed: int

    def measure(self, count: int) -> list[dict[str, Any]]:
        """Draw and distil ``count`` students. Return the shape, parameters, scores and held-out cosine of each."""
        options, budget = self._search()
        arguments = self.recipe.arguments
        texts = read_corpus(arguments["texts"], options_of(TextOptions, arguments), seed=self.seed)
        # DisWOT needs a teacher that is a sentence-transformers model.
        teacher: Any = self.recipe.open_teacher()
        scorer = Scorer(teacher.model, texts.train.texts, options, self.seed)
        cost = Cost(scorer.shared, budget)
        found = []
        drawn = draw_shapes(count, cost.fits, self.seed)
        with progress("students", total=count, unit="students") as bar:
            for shape in drawn:
                scores = scorer.scores(shape)
                found.append(
                    {
                        **asdict(shape),
                        "parameters": cost.parameters(shape),
                        **asdict(scores),
                        "score": scores.total,
                        "cosine": self._distilled_cosine(shape.config(scorer.shared)),
                    }
                )
                bar.update(1)
        return found

    def _search(self) -> tuple[Diswot, Budget]:
        """Return the search that the recipe names, and its budget without the time, which differs between machines."""
        arguments = self.recipe.arguments
        search = parse_method(arguments["architecture"]) if "architecture" in arguments else None
        budget = parse_budget(arguments["budget"]) if "budget" in arguments else Budget()
        if not isinstance(search, Diswot) or budget.parameters is None:
            raise OptionError(
                f'{self.recipe.given} must have architecture = "diswot" and a budget of parameters. '
                "See eval/recipes/diswot.toml."
            )
        return search, Budget(parameters=budget.parameters)

    def _distilled_cosine(self, config: dict[str, Any]) -> float:
        """Return the best held-out cosine of the student ``config`` after the training of the recipe."""
        folder = self.work / self.recipe.key({"config": config, "seed": self.seed})
        saved = folder.with_suffix(".json")
        if not saved.is_file():
            with explain_disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "config.json", config)
            overrides = {
                "student": f"fresh:{folder / 'config.json'}",
                "architecture": None,
                "budget": None,
                "out": folder / "student",
                "seed": self.seed,
                "cache": self.cache,
                "export": False,
                "overwrite": True,
            }
            facts = distill(**self.recipe.arguments | overrides)
            write_json(saved, {"cosine": facts.training["best"]["cosine_mean"]})
            shutil.rmtree(folder)
        return float(json.loads(saved.read_bytes())["cosine"])


def table(found: Mapping[str, Any]) -> str:
    """Return the taus as text, a line for each score."""
    lines = [f"{'score':12}  {'tau with held-out cosine':24}  above the parameter count"]
    for name, one in found.items():
        lines.append(f"{name:12}  {_shown(one):24}  {_shown(one['above parameters'])}")
    return "\n".join(lines)


def _shown(one: Mapping[str, float]) -> str:
    return f"{one['tau']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]"


def main(
    recipe: Annotated[str, typer.Option(help="A recipe file with texts and architecture = diswot.")],
    out: Annotated[Path, typer.Option(help="The result file to write.")],
    count: Annotated[int, typer.Option(help="How many students to distil.", min=3)] = 24,
    seed: Annotated[int, typer.Option(help="Seed of students, scores, trainings and intervals.")] = 0,
    work: Annotated[Path | None, typer.Option(help="Folder of the results of finished students.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of cached teacher vectors.")] = None,
) -> None:
    """Distil random students, and compare their order with that of their scores before training."""
    root = cache or default_cache()
    folder = work or root / "architectures"
    students = RandomStudents(recipe=read_entry(recipe), work=folder, cache=root, seed=seed).measure(count)
    names = ("score", "relation", "semantic", BASELINE)
    found = agreement(
        {name: [one[name] for one in students] for name in names}, [one["cosine"] for one in students], seed=seed
    )
    write_json(
        out,
        {
            "agreement": found,
            "students": students,
            "recipe": resolve_recipe(recipe).read_text(encoding="utf-8"),
            "seed": seed,
            "command": command_line(),
            "commit": commit(),
            "packages": packages(),
        },
    )
    typer.echo(table(found))


if __name__ == "__main__":
    with exit_on_error():
        typer.run(main)
