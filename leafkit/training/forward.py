"""A student's forward pass in training and validation: the backbone in the precision wanted, its head in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from leafkit.students.build import head_position
from leafkit.students.layers import layer_stack
from leafkit.training.attention import Float32Attention


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """A batch in all its stages.

    ``student`` are its vectors, (rows, dim), ``raw`` the same before they are normalised; ``hidden`` is what the head
    sees, (rows, width); ``layers`` are the mean token states after each layer where asked for, else empty.
    """

    student: Tensor
    raw: Tensor
    hidden: Tensor
    layers: tuple[Tensor, ...]


class StudentForward(nn.Module):
    """Features to vectors. ``model`` is the student itself: its parameters are the ones trained.

    The transformer alone runs in bfloat16 where asked: rounding the head's output would put 1/256 of noise on
    every target. Dropout is off, always: regression to a fixed target has nothing to regularise at these doses
    (held-out cosine 0.784 without, 0.779 with it: 3 layers of MiniLM, 4,000 texts, one epoch, seed 0).
    """

    def __init__(self, model: SentenceTransformer, precision: str) -> None:
        """Compute in ``precision``, ``float32`` or ``bfloat16``."""
        super().__init__()
        self.model = model
        self.precision = precision
        self.head = head_position(model)

    def train(self, mode: bool = True) -> StudentForward:
        """Ignore ``mode``: evaluation mode is what turns dropout off, and gradients flow all the same."""
        return super().train(False)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Vectors in the teacher's space, (rows, dim) float32."""
        return self.rest(self.hidden(features))

    def outputs(self, features: dict[str, Tensor], *, layers: bool) -> Outputs:
        """Vectors with what they came from; ``layers`` asks for the states of all layers as well."""
        states: list[Tensor] = []
        with layer_states(self.model, features, states) if layers else contextlib.nullcontext():
            hidden = self.hidden(features)
        modules = list(self.model)[self.head :]
        raw = modules[0]({"sentence_embedding": hidden})["sentence_embedding"]
        student = raw
        for module in modules[1:]:
            student = module({"sentence_embedding": student})["sentence_embedding"]
        return Outputs(student=student, raw=raw, hidden=hidden, layers=tuple(states))

    def hidden(self, features: dict[str, Tensor]) -> Tensor:
        """What the head sees, (rows, width) float32."""
        device = next(self.model.parameters()).device
        features = {name: value.to(device, non_blocking=True) for name, value in features.items()}
        modules = list(self.model)
        with self._compute(device.type):
            features = modules[0](features)
        for name, value in features.items():
            if isinstance(value, Tensor) and value.is_floating_point():
                features[name] = value.float()
        for module in modules[1 : self.head]:
            features = module(features)
        return features["sentence_embedding"]

    @contextlib.contextmanager
    def _compute(self, device: str) -> Iterator[None]:
        if self.precision == "float32":
            yield
            return
        with (
            torch.autocast(device, torch.bfloat16),
            Float32Attention() if device == "cpu" else contextlib.nullcontext(),
        ):
            yield

    def rest(self, hidden: Tensor) -> Tensor:
        """The head and, where the teacher is unit-norm, the normalisation."""
        features = {"sentence_embedding": hidden}
        for module in list(self.model)[self.head :]:
            features = module(features)
        return features["sentence_embedding"]


@contextlib.contextmanager
def layer_states(model: SentenceTransformer, features: dict[str, Tensor], states: list[Tensor]) -> Iterator[None]:
    """Append to ``states`` the mean token state, (rows, width) float32, after each layer that runs inside the block."""
    stack = layer_stack(model[0].model)
    mask = features["attention_mask"]

    def note(_module: nn.Module, _inputs: object, output: Any) -> None:
        tokens = (output[0] if isinstance(output, tuple) else output).float()
        kept = mask.to(tokens.device, torch.float32)[..., None]
        states.append((tokens * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1.0))

    hooks = [layer.register_forward_hook(note) for layer in stack]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def depth(model: SentenceTransformer) -> int:
    """How many transformer layers a student has; 0 for a token table."""
    return model[0].model.config.num_hidden_layers if type(model[0]).__name__ == "Transformer" else 0


def token_table(model: SentenceTransformer) -> nn.Embedding | nn.EmbeddingBag | None:
    """The table that a student looks its tokens up in; None where it looks them up in another way."""
    table = model[0].model.get_input_embeddings() if type(model[0]).__name__ == "Transformer" else model[0].embedding
    return table if isinstance(table, nn.Embedding | nn.EmbeddingBag) else None
