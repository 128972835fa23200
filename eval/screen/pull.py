"""How hard a method pulls on the student: the size of its gradient relative to LEAF's, in the first steps.

A weight means nothing across methods, because their losses have different units. A *pull* of 0.3 is the weight at which
the method's gradient is 0.3 times LEAF's. The gradient is that at the input of the student's head, and also at the
states after each layer and of each token where a method reads these; its size is the norm over the batch. It is
measured in a real training by the real loop, in which the method has next to no weight, so the student follows LEAF.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from eval.screen.study import Arm, ScreenStudy, make_arm, remove_training
from eval.screen.systems import System
from leafkit.errors import OptionError
from leafkit.files.atomic import write_json
from leafkit.files.json_file import read_json_object
from leafkit.methods.batch import Batch
from leafkit.methods.method import StepMethod
from leafkit.methods.objectives.leaf import Leaf
from leafkit.methods.registry import method_class

STEPS = 20
_NEXT_TO_NOTHING = 1e-6


class EnoughStepsError(Exception):
    """Ends a training whose first steps have been measured."""


def weight_of(
    study: ScreenStudy, system: System, student: str, texts: str, pull: float, *, measures: bool = True
) -> float | None:
    """Return the weight at which ``system`` pulls ``pull`` times as hard as LEAF, to three digits.

    The pull at weight 1 is measured once and kept in the folder ``pulls`` of the study. None if it is not known and
    must not be measured.
    """
    arm = make_arm(system, student, texts=texts, weight=_NEXT_TO_NOTHING)
    file = study.work / "pulls" / f"{student}-{texts}-{system.name}-{study.key(arm, 0)}.json"
    if not file.is_file():
        if not measures:
            return None
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"arm": arm.name, "steps": STEPS, "pull at weight 1": measured_pull(study, system, arm)})
    at_one = float(read_json_object(file)["pull at weight 1"])
    if at_one == 0:
        raise OptionError(f"{system.name} does not pull on the student, so it has no dose by pull. Name another dose.")
    return float(f"{pull / at_one:.3g}")


def measured_pull(study: ScreenStudy, system: System, arm: Arm) -> float:
    """Train `STEPS` steps and return the size of the gradient of the method at weight 1 over that of LEAF."""
    cls = method_class(system.method)
    if not issubclass(cls, StepMethod):
        raise OptionError(f"{system.name} takes no part in the steps, so it has no dose by pull. Name another dose.")
    sizes: dict[str, list[float]] = {"leaf": [], "method": []}
    out = study.work / "students" / f"pull-{arm.name}"
    remove_training(out)  # the rest of an interrupted training would be measured instead of the first steps
    with (
        contextlib.suppress(EnoughStepsError),
        observed(Leaf, sizes["leaf"].append, most=STEPS),
        observed(cls, sizes["method"].append),
    ):
        study.distill(arm, 0, out)
    remove_training(out)
    steps = min(map(len, sizes.values()))
    return sum(sizes["method"][:steps]) / sum(sizes["leaf"][:steps])


@contextlib.contextmanager
def observed(cls: type[StepMethod], note: Callable[[float], None], *, most: int | None = None) -> Iterator[None]:
    """Call ``note`` with the size of the gradient of each step's terms of ``cls`` while the block runs.

    After ``most`` steps, `EnoughStepsError` is raised.
    """
    original, own = cls.terms, "terms" in vars(cls)
    seen = 0

    def terms(self: Any, batch: Batch, state: Any) -> dict[str, torch.Tensor]:
        nonlocal seen
        if most is not None and seen == most:
            raise EnoughStepsError
        seen += 1
        found = original(self, batch, state)
        note(gradient_size(batch, found))
        return found

    cls.terms = terms  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        if own:
            cls.terms = original  # pyright: ignore[reportAttributeAccessIssue]
        else:
            del cls.terms


def gradient_size(batch: Batch, terms: dict[str, torch.Tensor]) -> float:
    """Return the norm of the gradient of the summed ``terms`` at the student's states of ``batch``.

    The gradient at a token counts as much as the same gradient at the mean over the tokens, so that a loss on tokens
    and a loss on their mean have the same size if they move the mean alike.
    """
    total = sum((loss.sum() for loss in terms.values()), torch.zeros(()))
    tokens = getattr(batch, "tokens", None)
    words = batch.features["attention_mask"] if tokens is None and batch.states else getattr(tokens, "mask", None)
    states = [batch.hidden, *batch.layers, *batch.states, *([tokens.student] if tokens is not None else [])]
    states = [state for state in states if state is not None and state.requires_grad]
    if not total.requires_grad or not states:
        return 0.0
    squares = 0.0
    for gradient in torch.autograd.grad(total, states, retain_graph=True, allow_unused=True):
        if gradient is None:
            continue
        square = gradient.double().square().sum(dim=-1)
        if square.dim() == 2 and words is not None:
            square = square.sum(dim=1) * words.to(square.device).sum(dim=1)
        squares += float(square.sum())
    return squares**0.5
