"""Everything about a training run that changes its result."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from leafkit.errors import OptionError
from leafkit.methods.objectives.leaf import Distance
from leafkit.vectors.rotation import check_kind

Precision = Literal["auto", "bfloat16", "float32"]
Head = Literal["ridge", "random"]
Keep = Literal["best", "last"]
Optimiser = Literal["adamw", "muon"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The fields are keyword arguments of `leafkit.distill`, which explains them; defaults and reasons are here."""

    objective: Distance = "norm"
    optimiser: Optimiser = "adamw"
    # The ridge start takes the first steps away, so that a small set is worth several epochs and a large one less.
    epochs: float = 1.0
    # The paper restarts its decay twice in 30 epochs; within one epoch a restart brings nothing (cosine 0.7834
    # with three cycles, 0.7840 with one: 3 layers of MiniLM, 4,000 texts, seed 0).
    cycles: int = 1
    # The paper's rates, for millions of texts. A few thousand want 3e-4 (0.799 in place of 0.784 there), and a
    # token table 1e-3 (0.651 in place of 0.634; 1e-2 is worse than no training).
    learning_rate: float = 1e-4
    final_learning_rate: float = 1e-5
    # Adam's first steps know no variance yet and would throw away a head that starts from the ridge solution.
    warmup: float = 0.02
    # Never on biases, norms and tables of tokens: a token that the texts lack keeps its vector exactly.
    weight_decay: float = 0.01
    batch_size: int = 32
    training_length: int | None = None
    head: Head = "ridge"
    head_bias: bool = True
    precision: Precision = "auto"
    valid_every: int | None = None
    # The best is never worse than the start; the last is what a training came to, for comparing trainings.
    keep: Keep = "best"
    store_dtype: str = "float16"
    rotate: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise `OptionError` naming the first field that is outside its range."""
        for name in ("cycles", "batch_size", "training_length", "valid_every"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "1 or more")
        for name in ("epochs", "weight_decay", "seed", "final_learning_rate"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, name, value, "0 or more")
        _require(
            math.isfinite(self.learning_rate) and self.learning_rate > 0,
            "learning_rate",
            self.learning_rate,
            "more than 0",
        )
        _require(0 <= self.warmup <= 1, "warmup", self.warmup, "a share of the first cycle, 0 to 1")
        _require(self.head in ("ridge", "random"), "head", self.head, "ridge or random")
        if self.rotate is not None:
            check_kind(self.rotate)
        _require(self.keep in ("best", "last"), "keep", self.keep, "best or last")
        _require(self.optimiser in ("adamw", "muon"), "optimiser", self.optimiser, "adamw or muon")
        wanted = ("auto", "bfloat16", "float32")
        _require(self.precision in wanted, "precision", self.precision, "auto, bfloat16 or float32")

    def on(self, device: str) -> Recipe:
        """The same recipe with ``precision`` auto replaced by what the hardware of ``device`` does fast."""
        if self.precision != "auto":
            return self
        return dataclasses.replace(self, precision="bfloat16" if _fast_bfloat16(device) else "float32")

    def steps(self, texts: int) -> int:
        """Optimiser steps over ``texts`` training texts."""
        return math.ceil(self.epochs * math.ceil(texts / self.batch_size))


def _fast_bfloat16(device: str) -> bool:
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return device == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise OptionError(f"{name} is {value!r}; wanted {wanted}")
