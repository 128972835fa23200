"""What the methods of a training know before the teacher encodes a text, and the rows that they reserve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy

from leafkit.errors import OptionError
from leafkit.methods.plan import Plan
from leafkit.methods.setting import Facts
from leafkit.texts.table import TextTable
from leafkit.training.batches import steps_per_epoch
from leafkit.training.recipe import Recipe
from leafkit.types import Int64

Reserved = dict[str, Int64]
"""The training rows that each method reserves, by the name of the method; without the methods that reserve none."""


def training_facts(
    recipe: Recipe,
    *,
    dim: int,
    width: int,
    depth: int,
    roles: Int64,
    labels: Int64,
    domains: Int64,
    pairs: Int64,
    texts_of: Callable[[Int64], list[str]],
) -> Facts:
    """Return the facts of a training by ``recipe`` whose steps draw all texts; the arguments are fields of `Facts`."""
    return Facts(
        dim=dim,
        width=width,
        depth=depth,
        steps=recipe.steps(len(roles)),
        epoch_steps=steps_per_epoch(len(roles), recipe.batch_size),
        validations=recipe.validations(len(roles)),
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        roles=roles,
        labels=labels,
        domains=domains,
        pairs=pairs,
        texts_of=texts_of,
    )


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The texts of a training: ``rows`` are those that steps draw, ``reserved`` those that each method reserves.

    ``facts`` are the facts of this training, whose numbers of steps count the drawn texts only.
    """

    facts: Facts
    reserved: Reserved
    rows: Int64


def plan_draw(plan: Plan, recipe: Recipe, facts: Facts, rows: Int64 | None = None) -> Draw:
    """Let the methods of ``plan`` reserve texts; ``facts`` are those of a training whose steps draw all texts.

    ``rows`` are the texts that steps may draw, by default all. Raises `OptionError` if none of them is left.
    """
    reserved = {}
    for name, method in plan.step_methods.items():
        taken = numpy.unique(numpy.asarray(method.reserve(facts), dtype=numpy.int64))
        if len(taken) and not 0 <= taken[0] <= taken[-1] < facts.texts:
            raise IndexError(f"{name} reserves texts outside the {facts.texts} training texts")
        if len(taken):
            reserved[name] = taken
    allowed = numpy.arange(facts.texts) if rows is None else numpy.unique(rows)
    left = numpy.setdiff1d(allowed, numpy.concatenate([allowed[:0], *reserved.values()]))
    if not len(left):
        raise OptionError(
            f"{' and '.join(reserved)} reserve{'s' * (len(reserved) == 1)} all {len(allowed)} texts, so that none is "
            "left to train on. Give more texts, or let fewer be reserved."
        )
    counts = replace(
        facts,
        steps=recipe.steps(len(left)),
        epoch_steps=steps_per_epoch(len(left), recipe.batch_size),
        validations=recipe.validations(len(left)),
    )
    return Draw(facts=counts, reserved=reserved, rows=left)


def check_facts(plan: Plan, recipe: Recipe, texts: TextTable, *, dim: int, width: int, depth: int) -> None:
    """Raise `OptionError` if a method of ``plan`` cannot work with a training on ``texts``.

    ``dim``, ``width`` and ``depth`` are those of `Facts`. Nothing is computed for plain LEAF, which works with any.
    """
    if plan.is_plain_leaf:
        return
    facts = training_facts(
        recipe,
        dim=dim,
        width=width,
        depth=depth,
        roles=texts.role_ids(),
        labels=texts.label_ids(),
        domains=texts.domain_ids(),
        pairs=texts.pairs,
        texts_of=lambda rows: [texts.texts[row] for row in rows],
    )
    plan.check(facts)
    if (draw := plan_draw(plan, recipe, facts)).reserved:
        plan.check(draw.facts)
