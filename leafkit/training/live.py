"""The live teacher: frozen inside a training step, it reads the student's own token ids."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from leafkit.errors import OptionError
from leafkit.methods.batch import TokenStates, View
from leafkit.methods.registry import method_name
from leafkit.methods.setting import Live
from leafkit.prompts import prompts_of
from leafkit.students.layers import Layers
from leafkit.students.student import Body, Student, transformer_of
from leafkit.teachers.sentence_transformer import take_rows
from leafkit.training.forward import run_modules
from leafkit.training.run import Run
from leafkit.training.tokenizers import special_tokens, tokenizer_difference
from leafkit.types import Int64

if TYPE_CHECKING:
    from leafkit.types import Teacher
    from leafkit.vectors.mapping import LinearMap

# The signals that only a live teacher gives: its token states, and its vectors of the texts that a feed changed.
LIVE_SIGNALS = frozenset({"tokens", "live"})


class LiveTeacher:
    """A frozen ``model`` that computes inside a training step; see `leafkit.methods.setting.Live` for its functions.

    ``model`` is taken over: its weights are cast to float32, because its own format may be float16, which a CPU
    computes about six times more slowly. Its transformer computes in ``precision``, float32 or bfloat16, and
    everything after it in float32. ``mapping`` is the rotation of the student's space, applied to every vector.
    """

    def __init__(self, model: SentenceTransformer, precision: str, mapping: LinearMap | None = None) -> None:
        """Freeze ``model`` on its device."""
        self.model = model.eval().requires_grad_(False).float()
        self.precision = precision
        self._body = Body(tuple(self.model))
        self._rotation = None if mapping is None else torch.tensor(mapping.documents, device=model.device)
        self._special = torch.tensor(sorted(special_tokens(self._body.tokenizer)), device=model.device)

    @cached_property
    def _stack(self) -> Layers:
        return Layers(self._body.transformer)

    @property
    def depth(self) -> int:
        """The number of layers of the teacher."""
        return self._stack.total

    def vectors(self, features: dict[str, Tensor]) -> Tensor:
        """Return the target vectors of the texts, (rows, dim) float32, without gradients."""
        with torch.no_grad():
            return self._read(features)[1]

    def token_states(self, features: dict[str, Tensor], student: Tensor) -> TokenStates:
        """Return the last token states of both sides; ``student``, (rows, length, width), are those of the student."""
        ids, mask = (features[name].to(student.device) for name in ("input_ids", "attention_mask"))
        with torch.no_grad():
            teacher = self._read(features)[0]
        return TokenStates(student=student, teacher=teacher, mask=mask.bool() & ~torch.isin(ids, self._special))

    def states(self, features: dict[str, Tensor], layer: int) -> Tensor:
        """Return the token states after ``layer`` layers (0: the embeddings), (rows, length, width), no gradients."""
        self._check(layer)
        found: list[Tensor] = []

        def note(states: Tensor) -> Tensor:
            found.append(states)
            return states

        with torch.no_grad(), self._layers(0, max(layer, 1)), self._at(layer, note):
            self._read(features)
        return found[0].float()

    def onward(self, states: Tensor, features: dict[str, Tensor], layer: int) -> Tensor:
        """Run the layers after ``layer`` on ``states`` and return the target vectors, (rows, dim).

        The gradient flows to ``states``, not to the teacher's parameters.
        """
        self._check(layer)
        # The layer before is computed as well, because the form of its output is that of the model.
        first = 0 if self._stack.first_is_shared else max(layer - 1, 0)
        with self._layers(first, self.depth), self._at(layer, lambda _: states, first=first):
            return self._read(features)[1]

    def _read(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the last token states and the vectors, both float32."""
        tokens, vectors = run_modules(self._body.modules, features, precision=self.precision, device=self.model.device)
        if tokens is None:
            raise TypeError("the live teacher gives no token states")
        return tokens, vectors if self._rotation is None else vectors @ self._rotation.T

    @contextlib.contextmanager
    def _layers(self, first: int, stop: int) -> Iterator[None]:
        """Keep only the layers from ``first`` to ``stop`` inside the block."""
        self._stack.keep(range(first, stop))
        try:
            yield
        finally:
            self._stack.keep(range(self.depth))

    @contextlib.contextmanager
    def _at(self, layer: int, change: Callable[[Tensor], Tensor], first: int = 0) -> Iterator[None]:
        """Replace the states after ``layer`` layers by ``change(states)`` inside the block.

        ``first`` is the number of layers that are left out before.
        """
        layers = self._stack.current

        def changed(states: Tensor) -> Tensor:
            return change(states).to(states.dtype)

        def before(_layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            if inputs:
                return (changed(inputs[0]), *inputs[1:]), named
            return inputs, {**named, "hidden_states": changed(named["hidden_states"])}

        def after(_layer: nn.Module, _inputs: tuple[Any, ...], output: Any) -> Any:
            return (changed(output[0]), *output[1:]) if isinstance(output, tuple) else changed(output)

        if layer == 0:
            hook = layers[0].register_forward_pre_hook(before, with_kwargs=True)
        else:
            hook = layers[layer - 1 - first].register_forward_hook(after)
        try:
            yield
        finally:
            hook.remove()

    def _check(self, layer: int) -> None:
        if not 0 <= layer <= self.depth:
            raise OptionError(f"the layer of the teacher is {layer}; expected 0 to {self.depth}, its number of layers.")


def live_model(teacher: Teacher) -> SentenceTransformer | None:
    """Return the model of ``teacher`` if it can be live: a transformer that pools every token of a text.

    A pooling that leaves out the prompt would need to know where the prompt ends, which token ids do not say.
    """
    model = getattr(teacher, "model", None)
    if not isinstance(model, SentenceTransformer) or transformer_of(model) is None:
        return None
    prompted = any(prompts_of(teacher.space).values())
    leaves_out = any(not getattr(module, "include_prompt", True) for module in model)
    return None if prompted and leaves_out else model


def check_prompts(run: Run, teacher: Teacher) -> None:
    """Raise `OptionError` if a method needs a live teacher, but the student reads other prompts than ``teacher``.

    A live teacher would read the student's prompts, and write other vectors than those of its own prompted texts.
    """
    needing = [method_name(method) for method in run.plan.methods if method.needs & LIVE_SIGNALS]
    if needing and run.recipe.student_prompt != "same" and any(prompts_of(teacher.space).values()):
        raise OptionError(
            f"{needing[0]} runs the teacher on the token ids of the student, which lack the teacher's prompts with "
            f"student_prompt={run.recipe.student_prompt}. Set student_prompt=same, or remove {needing[0]}."
        )


def check_tokenizer(run: Run, teacher: Teacher, student: Student) -> None:
    """Raise `OptionError` if a method needs a live teacher, but ``student`` reads texts with another tokenizer."""
    needing = [method_name(method) for method in run.plan.methods if method.needs & LIVE_SIGNALS]
    model = live_model(teacher)
    if not needing or model is None:
        return
    difference = tokenizer_difference(student.tokenizer, Body.of(model).tokenizer, names=("the student", "the teacher"))
    if difference is not None:
        raise OptionError(
            f"{needing[0]} needs a student with the teacher's tokenizer, but {difference}. Choose a student with the "
            f"same tokenizer, such as teacher:layers=3, or remove {needing[0]}."
        )


def retarget(live: Live, before: View, after: View) -> View:
    """Return ``after`` with the vectors that ``live`` gives the texts that a feed changed or added since ``before``."""
    rows = changed_rows(before, after)
    if not len(rows):
        return after
    vectors = live.vectors(take_rows(after.features, rows)).to(after.teacher)
    places = torch.from_numpy(rows).to(after.teacher.device)
    return dataclasses.replace(after, teacher=after.teacher.index_copy(0, places, vectors))


def changed_rows(before: View, after: View) -> Int64:
    """Return the rows of ``after`` whose tokens are not those of their text in ``before``, ascending.

    The texts of ``before`` keep their places; every further row is compared with the text that ``origin`` names.
    """
    if after.features is before.features:
        return numpy.zeros(0, dtype=numpy.int64)
    old, new = _texts(before.features), _texts(after.features)
    sources = [*range(len(old)), *after.origin[len(old) :].tolist()]
    changed = [row for row, source in enumerate(sources) if new[row] != old[source]]
    return numpy.array(changed, dtype=numpy.int64)


def _texts(features: dict[str, Tensor]) -> list[list[int]]:
    """Return the token ids of each text, without padding."""
    pairs = zip(features["input_ids"], features["attention_mask"], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in pairs]
