"""BD-KD in small: the gate of the entropy gap against the same gate with its sign flipped."""

from __future__ import annotations

import torch

from eval.mechanism.first import calibration_error, probabilities
from eval.mechanism.lab import Lab
from leafkit.methods.objectives.bdkd import entropy_gap

CLAIM = "Divergences in both directions, weighed by the entropy gap, give a student that is better calibrated."
PREMISE = "1,000 labelled queries of 77 classes, on some of which the student is less certain than the teacher."
CONTROL = "The gate with its sign flipped, which has the same total weight; if it is as good, the gate does nothing."
FIGURE = "minus the expected calibration error (15 bins) of the student's classes; higher is better"
SPECS = {
    "bdkd": "",
    "flipped sign": ",sign=flipped",
    "smooth gate": ",gate=smooth",
    "no gate": ",gate=off",
    "forward only": ",gate=off,directions=forward",
    "reverse only": ",gate=off,directions=reverse",
    "offline": ",mutual=0",
}
ARMS = (*SPECS, *(f"accuracy, {arm}" for arm in SPECS), "share of texts on which the student is less certain")


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return minus the calibration error and the accuracy of every arm, and how often the gap has either sign."""
    train, held_out = lab.texts("banking77", seed=seed, train=1000, held_out=2000)
    figures = {}
    for arm, spec in SPECS.items():
        trained = lab.train(["leaf", f"bdkd:weight=1,anchors=labels{spec}"], train, seed=seed, steps=300)
        anchors = trained.states["bdkd"].anchors
        chances = probabilities(anchors, trained.encode(held_out))
        figures[arm] = -calibration_error(chances, held_out.labels)
        figures[f"accuracy, {arm}"] = float((chances.argmax(axis=1) == held_out.labels).mean())
        if arm == "bdkd":
            student, teacher = (
                anchors.logits(torch.from_numpy(each)) for each in (trained.encode(train), train.vectors)
            )
            flatter = entropy_gap(student, teacher, 1.0) > 0
            figures["share of texts on which the student is less certain"] = float(flatter.float().mean())
    return figures
