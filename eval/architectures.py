"""Does a score without training order students as distilling them does? The claim of DisWOT, on random students.

python -m eval.architectures --recipe diswot --count 24 --out architectures.json

Paper: https://arxiv.org/abs/2303.15678. Students within the recipe's parameters are drawn at random and distilled as it
says, all alike; the scores that they have without that are then compared with their held-out cosines by Kendall's tau.
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
from leafkit.extras import import_optional
from leafkit.files.atomic import explain_disk_errors, write_json
from leafkit.files.progress import progress
from leafkit.methods.architectures.diswot import HIDDEN, Cost, Diswot, Scorer, Shape
from leafkit.methods.budget import Budget, parse_budget
from leafkit.methods.registry import parse_method
from leafkit.options import options_of
from leafkit.shipped import resolve_recipe
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.options import TextOptions
from leafkit.training.corpus import read_corpus
from leafkit.training.distill import distill
from leafkit.types import Int64
from leafkit.vectors.store import default_cache

BASELINE = "parameters"


def shapes(count: int, fits: Callable[[Shape], bool], seed: int) -> list[Shape]:
    """``count`` different shapes that fit, drawn from the seed; raises `OptionError` where there are not so many."""
    draw, shape = random.Random(seed), Shape(layers=1, hidden=HIDDEN[0], heads=1, feed_forward=1)
    found: dict[Shape, None] = {}
    for _ in range(1000 * count):
        shape = shape.mutated(draw)
        if fits(shape):
            found[shape] = None
        if len(found) == count:
            return list(found)
    raise OptionError(f"{count} students were asked for, and {len(found)} were found within the budget; raise it")


def agreement(scores: Mapping[str, Sequence[float]], cosines: Sequence[float], *, seed: int) -> dict[str, Any]:
    """Kendall's tau of each of ``scores`` with ``cosines``, and how far it is above that of the parameter count.

    Both come with the middle 95 % over resampled students; a score that says nothing has a tau of 0.
    """
    wanted, everyone = numpy.asarray(cosines), numpy.arange(len(cosines))[None]
    draws = numpy.random.default_rng(seed).integers(len(wanted), size=(RESAMPLES, len(wanted)))
    exact = {name: float(_taus(numpy.asarray(each), wanted, everyone)[0]) for name, each in scores.items()}
    drawn = {name: _taus(numpy.asarray(each), wanted, draws) for name, each in scores.items()}
    return {
        name: {
            "tau": exact[name],
            **_between(drawn[name]),
            "above parameters": {"tau": exact[name] - exact[BASELINE], **_between(drawn[name] - drawn[BASELINE])},
        }
        for name in scores
    }


def _taus(one: Float64, other: Float64, draws: Int64) -> Float64:
    """Kendall's tau-b of each row of ``draws``, 0 where either side is constant."""
    tau = import_optional("scipy.stats").kendalltau
    return numpy.nan_to_num([tau(one[rows], other[rows]).statistic for rows in draws])


def _between(taus: Float64) -> dict[str, float]:
    found = interval(taus)
    return {} if found is None else asdict(found)  # a tau is always finite


@dataclass(frozen=True, kw_only=True)
class Field:
    """Students of one recipe; finished ones are kept below ``work`` and not trained again."""

    recipe: RecipeEntry
    work: Path
    cache: Path
    seed: int

    def measure(self, count: int) -> list[dict[str, Any]]:
        """Each student's shape, parameters, scores and held-out cosine."""
        options, budget = self._search()
        asked = self.recipe.arguments
        texts = read_corpus(asked["texts"], options_of(TextOptions, asked), seed=self.seed)
        teacher = open_with(asked["teacher"], options_of(TeacherOptions, asked))
        scorer = Scorer(teacher.model, texts.train.texts, options, self.seed)
        cost = Cost(scorer.shared, budget)
        found = []
        drawn = shapes(count, cost.fits, self.seed)
        with progress("students", total=count, unit="students") as bar:
            for shape in drawn:
                scores = scorer.scores(shape)
                found.append(
                    {
                        **asdict(shape),
                        "parameters": cost.parameters(shape),
                        **asdict(scores),
                        "score": scores.total,
                        "cosine": self._distilled(shape.config(scorer.shared)),
                    }
                )
                bar.update(1)
        return found

    def _search(self) -> tuple[Diswot, Budget]:
        """The search that the recipe names, and its budget without the time, which no two machines share."""
        asked = self.recipe.arguments
        search = parse_method(asked["architecture"]) if "architecture" in asked else None
        budget = parse_budget(asked["budget"]) if "budget" in asked else Budget()
        if not isinstance(search, Diswot) or budget.parameters is None:
            raise OptionError("the recipe is to name architecture = diswot, and a budget of parameters")
        return search, Budget(parameters=budget.parameters)

    def _distilled(self, config: dict[str, Any]) -> float:
        """The best held-out cosine of the student ``config`` after the recipe's training."""
        folder = self.work / self.recipe.key({"config": config, "seed": self.seed})
        known = folder.with_suffix(".json")
        if not known.is_file():
            with explain_disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "config.json", config)
            changed = {
                "student": f"fresh:{folder / 'config.json'}",
                "architecture": None,
                "budget": None,
                "out": folder / "student",
                "seed": self.seed,
                "cache": self.cache,
                "export": False,
                "overwrite": True,
            }
            facts = distill(**self.recipe.arguments | changed)
            write_json(known, {"cosine": facts.training["best"]["cosine_mean"]})
            shutil.rmtree(folder)
        return float(json.loads(known.read_bytes())["cosine"])


def table(found: Mapping[str, Any]) -> str:
    """One line a score."""
    lines = [f"{'score':12}  {'tau with held-out cosine':24}  above the parameter count"]
    for name, one in found.items():
        lines.append(f"{name:12}  {_shown(one):24}  {_shown(one['above parameters'])}")
    return "\n".join(lines)


def _shown(one: Mapping[str, float]) -> str:
    return f"{one['tau']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]"


def main(
    recipe: Annotated[str, typer.Option(help="A recipe with architecture = diswot: its file or name.")],
    out: Annotated[Path, typer.Option(help="The result file to write.")],
    count: Annotated[int, typer.Option(help="Students to distil.", min=3)] = 24,
    seed: Annotated[int, typer.Option(help="Seed of students, scores, trainings and intervals.")] = 0,
    work: Annotated[Path | None, typer.Option(help="Where finished students are noted.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Where teacher vectors are kept.")] = None,
) -> None:
    """Distil random students and ask whether their scores would have known the best."""
    root = cache or default_cache()
    field = Field(recipe=read_entry(recipe), work=work or root / "architectures", cache=root, seed=seed)
    students = field.measure(count)
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
