"""A student's forward pass in training and validation: the body in the chosen precision, the head in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from leafkit.files.progress import progress
from leafkit.methods.batch import Outputs
from leafkit.students.layers import layer_stack
from leafkit.students.student import Student
from leafkit.texts.batches import length_batches
from leafkit.training.attention import Float32Attention
from leafkit.training.data import TokenFile
from leafkit.types import Float32, Int64, Role

BATCH_TOKENS = 8192
BATCH_ROWS = 256


class StudentForward(nn.Module):
    """Maps token features to vectors with the trainable parameters of ``student``.

    Only the transformer runs in bfloat16: rounding the head's output would put 1/256 of noise on every target.
    Dropout is always off, because regression to a fixed target does not overfit in so short a training
    (held-out cosine 0.784 without, 0.779 with it: 3 layers of MiniLM, 4,000 texts, one epoch, seed 0).
    """

    def __init__(self, student: Student, precision: str) -> None:
        """Compute with ``student`` in ``precision``, ``float32`` or ``bfloat16``."""
        super().__init__()
        self.student = student
        self.model = student.model  # registers the parameters
        self.precision = precision

    @property
    def device(self) -> torch.device:
        """The device that holds the student's parameters."""
        return next(self.model.parameters()).device

    def train(self, mode: bool = True) -> StudentForward:
        """Ignore ``mode`` and stay in evaluation mode, which turns dropout off and lets gradients flow."""
        return super().train(False)

    def forward(
        self,
        features: dict[str, Tensor],
        *,
        layers: bool = False,
        states: bool = False,
        tokens: bool = False,
        embed: Callable[[Tensor], Tensor] | None = None,
    ) -> Outputs:
        """Return all stages of the forward pass; the vectors are (rows, dim) float32.

        ``layers``, ``states`` and ``tokens`` ask for those stages as well. ``embed`` changes the token embeddings
        before the first layer, as `leafkit.methods.batch.View` says.
        """
        after: list[Tensor] = []
        with contextlib.ExitStack() as hooks:
            if layers or states:
                hooks.enter_context(layer_states(self.student, after))
            if embed is not None:
                hooks.enter_context(changed_embeddings(self.student, embed))
            token_states, hidden = self._states(features)
        raw = self._raw(hidden)
        return Outputs(
            student=self._finished(raw),
            raw=raw,
            hidden=hidden,
            layers=tuple(mean_states(each, features["attention_mask"]) for each in after) if layers else (),
            states=tuple(after) if states else (),
            tokens=token_states if tokens else None,
        )

    def hidden(self, features: dict[str, Tensor]) -> Tensor:
        """Return the input of the head, (rows, width) float32."""
        return self._states(features)[1]

    def vectors(self, features: dict[str, Tensor]) -> Tensor:
        """Return vectors in the teacher's space, (rows, dim) float32."""
        return self._finished(self._raw(self.hidden(features)))

    @torch.inference_mode()
    def encode(self, tokens: TokenFile, rows: Int64, *, hidden: bool = False, label: str | None = None) -> Float32:
        """Return the vectors of the tokenised texts ``rows`` in that order, (rows, dim).

        ``hidden`` returns the input of the head instead, (rows, width). ``label`` shows a progress bar of that name.
        """
        step = self.hidden if hidden else self.vectors
        width = self.student.head.in_features if hidden else self.student.head.out_features
        vectors = numpy.empty((len(rows), width), dtype=numpy.float32)
        with progress(label or "", total=len(rows), unit="texts") if label else contextlib.nullcontext() as bar:
            # The longest texts come first, and nothing is kept between batches, so that each batch fits into the
            # memory of the one before. Growing batches took three gigabytes for 20,000 texts.
            for part in length_batches(tokens.lengths[rows], tokens=BATCH_TOKENS, rows=BATCH_ROWS):
                vectors[part] = step(tokens.features(rows[part])).float().cpu().numpy()
                if bar is not None:
                    bar.update(len(part))
        return vectors

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], roles: Sequence[Role], *, max_length: int | None) -> Float32:
        """Return the vectors of ``texts``, (texts, dim), prompts included and truncated at ``max_length`` tokens."""
        prompted = [self.student.prompt(role) + text for text, role in zip(texts, roles, strict=True)]
        parts = [numpy.empty((0, self.student.head.out_features), dtype=numpy.float32)]
        with self.student.truncating_at(max_length):
            for start in range(0, len(prompted), BATCH_ROWS):
                features = self.student.preprocess(prompted[start : start + BATCH_ROWS])
                known = {name: value for name, value in features.items() if isinstance(value, Tensor)}
                parts.append(self.vectors(known).float().cpu().numpy())
        return numpy.concatenate(parts)

    def _states(self, features: dict[str, Tensor]) -> tuple[Tensor | None, Tensor]:
        """Return the last token states (None for a token table) and the input of the head."""
        return run_modules(self.student.body.modules, features, precision=self.precision, device=self.device)

    def _raw(self, hidden: Tensor) -> Tensor:
        return self.student.head({"sentence_embedding": hidden})["sentence_embedding"]

    def _finished(self, raw: Tensor) -> Tensor:
        features = {"sentence_embedding": raw}
        for module in self.student.tail:
            features = module(features)
        return features["sentence_embedding"]


def run_modules(
    modules: Sequence[nn.Module], features: dict[str, Tensor], *, precision: str, device: torch.device
) -> tuple[Tensor | None, Tensor]:
    """Pass token ids through the modules of a sentence-transformers model: the first in ``precision``, then float32.

    Returns the token states after the first module, (rows, length, width), None if there are none, and the vectors of
    the texts after the last module, (rows, width), both float32.
    """
    features = {name: value.to(device, non_blocking=True) for name, value in features.items()}
    first, *others = modules
    with _computing(precision, device.type):
        features = first(features)
    for name, value in features.items():
        if isinstance(value, Tensor) and value.is_floating_point():
            features[name] = value.float()
    tokens = features.get("token_embeddings")
    for module in others:
        features = module(features)
    return tokens, features["sentence_embedding"]


@contextlib.contextmanager
def _computing(precision: str, device: str) -> Iterator[None]:
    """Compute in ``precision``, float32 or bfloat16, inside the block."""
    if precision == "float32":
        yield
        return
    with torch.autocast(device, torch.bfloat16), Float32Attention() if device == "cpu" else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def layer_states(student: Student, states: list[Tensor]) -> Iterator[None]:
    """Append to ``states`` the token states, (rows, length, width) float32, after each layer that runs in the block."""

    def note(_module: nn.Module, _inputs: object, output: Any) -> None:
        tokens = (output[0] if isinstance(output, tuple) else output).float()
        # A view, so that a gradient at the states is that of the methods that read them, without the later layers.
        states.append(tokens.view_as(tokens))

    hooks = [layer.register_forward_hook(note) for layer in layer_stack(student.transformer)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def mean_states(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the mean, (rows, width), of the states of ``tokens`` (rows, length, width) where ``mask`` is 1."""
    weights = mask.to(tokens.device, torch.float32)[..., None]
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


@contextlib.contextmanager
def changed_embeddings(student: Student, embed: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Pass the token embeddings, (rows, length, width), through ``embed`` inside the block, before the first layer.

    Raises `TypeError` for a token table, which has no layers.
    """
    table: nn.Module = student.transformer.get_input_embeddings()

    def change(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return embed(output)

    hook = table.register_forward_hook(change)
    try:
        yield
    finally:
        hook.remove()
