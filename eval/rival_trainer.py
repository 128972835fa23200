"""The rival trainer: sentence-transformers' own trainer with its EmbedDistillLoss, on given texts and vectors."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer


def train_rival(
    model: SentenceTransformer,
    rows: Dataset,
    out: Path,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    final_learning_rate: float = 0.0,
    warmup_steps: int = 0,
    weight_decay: float = 0.0,
    bfloat16: bool = False,
    seed: int = 42,
) -> list[float]:
    """Train ``model`` on the CPU on rows of ``text`` and ``label`` (a vector). Return the end time of each step.

    The trainer keeps its defaults, including dropout, but writes no logs, progress bars or checkpoints. The learning
    rate falls linearly. Times are in seconds, from `time.perf_counter`.
    """
    from sentence_transformers import SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss
    from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
    from transformers import TrainerCallback

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=batch_size,
        max_steps=steps,
        learning_rate=learning_rate,
        lr_scheduler_type="polynomial",
        lr_scheduler_kwargs={"lr_end": final_learning_rate, "power": 1.0},
        warmup_steps=warmup_steps,
        weight_decay=weight_decay,
        bf16=bfloat16,
        seed=seed,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    loss = EmbedDistillLoss(model, distance_metric="l2")
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=rows, loss=loss, callbacks=[Clock()]
    )
    # The trainer prints a summary, which must not mix with our results on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        trainer.train()
    return times
