"""The options of a training: the recipe, which decides its result, and how the run is carried out."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from leafkit.files.options import OutputOptions
from leafkit.hardware import has_fast_bfloat16
from leafkit.methods.options import Distance
from leafkit.options import Option, Options
from leafkit.students.prompts import StudentPrompt
from leafkit.training.schedule import learning_rate_at
from leafkit.vectors.rotation import KINDS
from leafkit.vectors.store import DTYPES

Precision = Literal["auto", "bfloat16", "float32"]
Head = Literal["ridge", "random"]
Keep = Literal["best", "last"]
Optimiser = Literal["adamw", "muon"]

# The validations of a training after the one at its start, unless `Recipe.valid_every` says otherwise.
VALIDATIONS = 10


@dataclass(frozen=True, kw_only=True)
class Recipe(Options):
    """Every option that changes the trained student. Comments give the measurements behind the defaults."""

    panel: ClassVar[str] = "Training"

    objective: Annotated[
        Distance,
        Option("Distance to the teacher's vector that LEAF minimises: norm (as in the paper), squared or cosine."),
    ] = "norm"
    optimiser: Annotated[
        Optimiser, Option("adamw, or muon for the matrices of the transformer with AdamW for everything else.")
    ] = "adamw"
    # The ridge start replaces the first steps, so a small set of texts needs several epochs and a large set fewer.
    epochs: Annotated[
        float,
        Option("Passes over the texts; 0 keeps the start, which is the undistilled baseline.", at_least=0),
    ] = 1.0
    # The paper restarts its decay twice in 30 epochs. Within one epoch a restart gains nothing (held-out cosine 0.7834
    # with three cycles, 0.7840 with one: 3 layers of MiniLM, 4,000 texts, seed 0).
    cycles: Annotated[
        int, Option("Number of cycles in the whole training; the learning rate falls linearly in each.", at_least=1)
    ] = 1
    # The paper's rates suit millions of texts. A few thousand texts need 3e-4 (0.799 instead of 0.784 there), and a
    # token table 1e-3 (0.651 instead of 0.634; 1e-2 is worse than no training).
    learning_rate: Annotated[
        float,
        Option(
            "Learning rate at the start of each cycle. The default suits millions of texts; try 3e-4 for thousands, "
            "and 1e-3 for a token table.",
            above=0,
        ),
    ] = 1e-4
    final_learning_rate: Annotated[float, Option("Learning rate at the end of each cycle.", at_least=0)] = 1e-5
    # Adam's first steps have no variance estimate yet and would destroy a head that starts from the ridge solution.
    warmup: Annotated[
        float, Option("Share of the first cycle in which the learning rate rises from 0.", at_least=0, at_most=1)
    ] = 0.02
    # Never applied to biases, norms and token tables: a token that occurs in no text keeps its vector exactly.
    weight_decay: Annotated[float, Option("Weight decay of the weight matrices.", at_least=0)] = 0.01
    batch_size: Annotated[int, Option("Texts per step, over all processes together.", at_least=1)] = 32
    training_length: Annotated[
        int | None,
        Option("Truncate training texts to this many tokens.", none="the teacher's length limit", at_least=1),
    ] = None
    student_prompt: Annotated[
        StudentPrompt,
        Option(
            "What the student reads where the teacher reads a prompt: same (the teacher's prompt), token (one token, "
            "which is faster) or none. It learns the teacher's vectors of prompted texts in any case."
        ),
    ] = "same"
    head: Annotated[
        Head,
        Option("Start of the linear head, and of a token table: ridge (closed-form solution) or random."),
    ] = "ridge"
    head_bias: Annotated[bool, Option("Give the head a bias.", flags=("--head-bias/--no-head-bias",))] = True
    precision: Annotated[
        Precision,
        Option(
            "Precision of the transformer in training: auto (bfloat16 where the hardware supports it), bfloat16 or "
            "float32. Head, loss and weights are always float32."
        ),
    ] = "auto"
    valid_every: Annotated[
        int | None, Option("Steps between validations.", none="a tenth of the training", at_least=1)
    ] = None
    # The best student is never worse than the start. The last one shows what the training did, so trainings that are
    # compared with each other keep the last one.
    keep: Annotated[
        Keep, Option("Which student to keep: the best by held-out cosine (which may be the start), or the last.")
    ] = "best"
    store_dtype: Annotated[
        str, Option("Precision of cached teacher vectors: float16 or float32.", choices=tuple(DTYPES))
    ] = "float16"
    rotate: Annotated[
        str | None,
        Option(
            "Rotate the teacher's space before training: pca (the first dimensions keep the most), itq (the signs keep "
            "the most) or random.",
            none="no rotation",
            choices=tuple(KINDS),
        ),
    ] = None
    seed: Annotated[
        int, Option("Seed of the held-out split, of the order of texts and of random starts.", at_least=0)
    ] = 0

    def on(self, device: str) -> Recipe:
        """Return the recipe with ``precision`` auto replaced by what the hardware of ``device`` supports."""
        if self.precision != "auto":
            return self
        return dataclasses.replace(self, precision="bfloat16" if has_fast_bfloat16(device) else "float32")

    def steps(self, texts: int) -> int:
        """Return the number of optimiser steps over ``texts`` training texts."""
        return math.ceil(self.epochs * math.ceil(texts / self.batch_size))

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of step ``step``, counted from 0, of ``steps``."""
        return learning_rate_at(
            step,
            steps=steps,
            cycles=self.cycles,
            start=self.learning_rate,
            end=self.final_learning_rate,
            warmup=self.warmup,
        )

    def steps_between_validations(self, texts: int) -> int:
        """Return the number of steps from one validation to the next in a training on ``texts`` texts."""
        return self.valid_every or max(1, self.steps(texts) // VALIDATIONS)

    def validations(self, texts: int) -> int:
        """Return the number of validations of a training on ``texts`` texts, at its start and its end included."""
        return 1 + math.ceil(self.steps(texts) / self.steps_between_validations(texts))


@dataclass(frozen=True, kw_only=True)
class RunOptions(OutputOptions):
    """How a training is carried out; none of these options changes the trained student."""

    panel: ClassVar[str] = "Run"

    checkpoint_every: Annotated[
        int | None, Option("Steps between checkpoints.", none="every five minutes", at_least=1)
    ] = None
    tensorboard: Annotated[Path | None, Option("Folder for TensorBoard curves.", none="no curves")] = None
    licence: Annotated[
        str | None,
        Option(
            "Licence that the model card states, such as mit or apache-2.0.",
            none="the licence that the card of the student's start states",
            flags=("--licence", "--license"),
        ),
    ] = None
    export: Annotated[
        bool, Option("Write ONNX files for the search host as well.", flags=("--export/--no-export",))
    ] = True


@dataclass(frozen=True, kw_only=True)
class DistillArguments(Options):
    """The arguments of `leafkit.distill` that are not options: texts, teacher, student and output folder."""

    panel: ClassVar[str] = "Arguments"

    texts: Annotated[
        str | list[str] | None,
        Option(
            "Files or folders of texts: JSONL, CSV, Parquet, plain text (also .gz, .zst), a folder of .txt and "
            ".md files (one document each), a BEIR folder, a saved dataset or hub:OWNER/NAME. query:FILE or "
            "document:FILE sets the role of its texts; sentences:FILE uses one sentence of each document as a query.",
            none="the texts of a teacher that is a vectors file or an engine",
        ),
    ] = None
    teacher: Annotated[
        str | None,
        Option(
            "The teacher: a sentence-transformers folder or hub id, an ONNX folder, a vectors file (.parquet, a folder "
            "of them, or .npy with a .jsonl of the same name), an engine such as postgresql://HOST/DATABASE#TABLE that "
            "holds texts and vectors, or package:NAME, a model inside an installed package."
        ),
    ] = None
    student: Annotated[
        str | None,
        Option(
            "The student: a folder, hub id or package:NAME; a finished student to train further, also by name; "
            "teacher:layers=3 or MODEL:layers=3 for evenly spaced layers of a model (pick=greedy chooses the layers "
            "that start closest to the teacher, pooling=cls or mean sets the pooling); fresh:CONFIG.json; static or "
            "static:dim=256 for a token table."
        ),
    ] = None
    out: Annotated[str | None, Option("The student folder to write.")] = None
