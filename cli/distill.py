"""leafkit distill: texts and a teacher to a student."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from leafkit.cli.options import Cache, Overwrite, Recipe, Teacher, TeacherFlags, TextOptions, option, spread_options


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How the student is trained; names and defaults are those of `leafkit.distill`."""

    epochs: Annotated[
        float, option("Training", "Passes over the texts; 0 keeps the closed-form start, the undistilled baseline.")
    ] = 1.0
    methods: Annotated[
        list[str] | None,
        option(
            "Training",
            "A distillation system and its fields, e.g. sinkd:weight=0.1, see leafkit methods; may be repeated; their "
            "losses add up  [default: leaf]",
            "--method",
        ),
    ] = None
    feeds: Annotated[
        list[str] | None,
        option("Training", "A system that chooses, changes or writes texts, e.g. ddk; may be repeated.", "--feed"),
    ] = None
    architecture: Annotated[
        str | None, option("Training", "A search for the student in place of --student, e.g. diswot.")
    ] = None
    budget: Annotated[
        str | None, option("Training", "What the student searched for may cost, e.g. '2M params, 1 ms'.")
    ] = None
    objective: Annotated[str, option("Training", "Distance to the teacher's vector: norm, squared or cosine.")] = "norm"
    optimiser: Annotated[
        str, option("Training", "adamw, or muon for the transformer's matrices with AdamW for the rest.")
    ] = "adamw"
    batch_size: Annotated[int, option("Training", "Texts a step, shared by all processes.")] = 32
    learning_rate: Annotated[float, option("Training", "Rate at the start of each cycle.")] = 1e-4
    final_learning_rate: Annotated[float, option("Training", "Rate at the end of each cycle.")] = 1e-5
    cycles: Annotated[int, option("Training", "Linear decays from the one rate to the other.")] = 1
    warmup: Annotated[float, option("Training", "Share of the first cycle in which the rate rises.")] = 0.02
    weight_decay: Annotated[float, option("Training", "On weight matrices alone.")] = 0.01
    training_length: Annotated[
        int | None, option("Training", "Tokens of a text to train on  [default: all that the student reads]")
    ] = None
    head: Annotated[
        str, option("Training", "Start of the linear head, and of a token table: ridge (closed form) or random.")
    ] = "ridge"
    head_bias: Annotated[bool, option("Training", "Whether the head has a bias.", "--head-bias/--no-head-bias")] = True
    precision: Annotated[str, option("Training", "auto (bfloat16 where the hardware has it), bfloat16 or float32.")] = (
        "auto"
    )
    queries: Annotated[int | None, option("Training", "Take so many queries, the first ones  [default: all]")] = None
    documents: Annotated[int | None, option("Training", "Take so many documents, the first ones  [default: all]")] = (
        None
    )
    valid: Annotated[
        list[str] | None, option("Training", "Texts to validate with  [default: 2 % of the texts, at most 2,000]")
    ] = None
    valid_every: Annotated[
        int | None, option("Training", "Steps between validations  [default: a tenth of the run]")
    ] = None
    keep: Annotated[str, option("Training", "The best student by held-out cosine, or the last.")] = "best"
    checkpoint_every: Annotated[
        int | None, option("Training", "Steps between checkpoints  [default: five minutes]")
    ] = None
    seed: Annotated[int, option("Training", "Seed of the order of texts and of random starts.")] = 0
    store_dtype: Annotated[str, option("Training", "Cached teacher vectors: float16 or float32.")] = "float16"
    rotate: Annotated[
        str | None,
        option(
            "Training",
            "Learn the space in other coordinates: pca (prefixes say most), itq (signs do) or random  [default: none]",
        ),
    ] = None
    tensorboard: Annotated[Path | None, option("Training", "Folder for TensorBoard curves.")] = None


@spread_options
def distill(
    texts: Annotated[
        list[str],
        typer.Argument(
            help="Files or folders of texts: JSONL, CSV, Parquet, plain text (also .gz, .zst), a BEIR folder, a saved "
            "dataset or hub:OWNER/NAME. query:FILE or document:FILE sets the role of its texts; sentences:FILE "
            "takes a sentence of each as a query.",
            show_default=False,
        ),
    ],
    teacher: Teacher,
    out: Annotated[Path, typer.Option(help="The student folder to write.", show_default=False)],
    training_options: TrainingOptions,
    text_options: TextOptions,
    teacher_flags: TeacherFlags,
    student: Annotated[
        str | None,
        typer.Option(
            help="A folder, hub id or package:NAME; a student to train on, also by its name; teacher:layers=3 or "
            "MODEL:layers=3, evenly spaced layers of a model (pick=greedy takes those that start nearest to the "
            "teacher, pooling=cls or mean pools them so); fresh:CONFIG.json; static or static:dim=256, a token table.",
            show_default=False,
        ),
    ] = None,
    role: Annotated[str, typer.Option(help="Role of texts that say none: query or document.")] = "document",
    export: Annotated[bool, typer.Option(help="Write ONNX files for the query host as well.")] = True,
    cache: Cache = None,
    overwrite: Overwrite = False,
    recipe: Recipe = None,
) -> None:
    """Train a small student to write the teacher's own vectors: no labels, no negatives, no API at query time.

    The teacher encodes each text once, ever; its vectors are cached. Stopped at any moment, the same command goes
    on where it was. The student opens with plain sentence-transformers, and its ONNX files need no torch.

    A recipe is a TOML file with any of these options under their names, and with texts = ["..."]; options that are
    given beside it go before it.

    \b
    leafkit distill docs.jsonl query:questions.txt --teacher BAAI/bge-small-en-v1.5 \\
        --student teacher:layers=3 --out my-student
    leafkit distill docs.jsonl sentences:docs.jsonl --teacher BAAI/bge-small-en-v1.5 \\
        --student bge-small-leaf --out my-student
    leafkit distill vectors.parquet --teacher vectors.parquet --student MODEL --out my-student
    leafkit distill --recipe my-student.toml --epochs 3
    """
    from leafkit.training.distill import distill as run

    run(
        texts,
        partial(teacher_flags.open, teacher),
        student,
        out,
        role=role,
        export=export,
        device=teacher_flags.device,
        cache=cache,
        overwrite=overwrite,
        **dataclasses.asdict(training_options),
        **dataclasses.asdict(text_options),
    )
    typer.echo(out)
