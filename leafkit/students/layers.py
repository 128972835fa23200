"""Some layers of a transformer, the rest left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from leafkit.errors import OptionError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def check_count(total: int, count: int) -> None:
    """Raise `OptionError` unless ``count`` of ``total`` layers can be kept."""
    if not 1 <= count <= total:
        raise OptionError(f"got layers={count}, but the model has {total}: keep between 1 and {total}")


def evenly_spaced(total: int, count: int) -> tuple[int, ...]:
    """``count`` of ``total`` layers at equal distances, the first and the last kept.

    Positions are rounded to the nearest layer, halves to the even one: 3 of 6 are 0, 2, 5 and 6 of 12 are
    DistilBERT's 0, 2, 4, 7, 9, 11. One layer alone is the first: its input is what it was trained on.
    """
    check_count(total, count)
    if count == 1:
        return (0,)
    return tuple(round(i * (total - 1) / (count - 1)) for i in range(count))


def keep_layers(model: PreTrainedModel, layers: int | tuple[int, ...]) -> tuple[int, ...]:
    """Leave only ``layers`` in ``model``, weights untouched; returns which they are, counted from 0.

    Raises `OptionError` if the model has no such layers or does not hold its layers in one list.
    """
    stack = Layers(model)
    kept = evenly_spaced(stack.total, layers) if isinstance(layers, int) else layers
    if kept[-1] >= stack.total:
        raise OptionError(f"got layer {kept[-1]}, but the model has {stack.total}, counted from 0 to {stack.total - 1}")
    if (wrong := stack.misplaced(kept)) is not None:
        raise OptionError(
            f"layer {kept[wrong]} of {type(model).__name__} cannot be layer {wrong} of a student: the two have other "
            f"weights. Keep layer {wrong} itself there, as in layers={','.join(map(str, range(len(kept))))}"
        )
    stack.keep(kept)
    return kept


class Layers:
    """All ``total`` layers that ``model`` has now, of which it can be given now these, now those."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Raises `OptionError` if the model does not hold its layers in one list."""
        self.total = model.config.num_hidden_layers
        self._config = model.config
        self._parent, self._name = _stack(model, self.total)
        self._layers = list(getattr(self._parent, self._name))
        self._types = getattr(model.config, "layer_types", None)
        self._weights = [{name: one.shape for name, one in layer.named_parameters()} for layer in self._layers]

    @property
    def now(self) -> nn.ModuleList:
        """The layers that the model has now."""
        return getattr(self._parent, self._name)

    def misplaced(self, kept: Sequence[int]) -> int | None:
        """The first place at which the model, opened again with the layers ``kept``, would build another layer.

        T5 keeps what all layers share in the first, and ModernBERT's first has no norm before its attention.
        """
        places = enumerate(kept)
        return next((place for place, one in places if self._weights[place] != self._weights[one]), None)

    def keep(self, kept: Sequence[int]) -> None:
        """Let the model be the layers ``kept``, counted from 0 among all, and tell it so."""
        from torch import nn

        setattr(self._parent, self._name, nn.ModuleList([self._layers[i] for i in kept]))
        for position, layer in enumerate(self.now):
            for module in layer.modules():
                if hasattr(module, "layer_idx"):
                    module.layer_idx = position
        self._config.num_hidden_layers = len(kept)
        if self._types:
            self._config.layer_types = [self._types[i] for i in kept]


def layer_stack(model: PreTrainedModel) -> nn.ModuleList:
    """The list of all layers of ``model``; raises `OptionError` if it does not hold them in one list."""
    parent, name = _stack(model, model.config.num_hidden_layers)
    return getattr(parent, name)


def _stack(model: PreTrainedModel, total: int) -> tuple[nn.Module, str]:
    """The module and attribute that hold the list of all ``total`` layers."""
    from torch import nn

    lists = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == total
    ]
    # What a layer is made of may be a list of that length as well.
    inner = {id(module) for _, _, child in lists for layer in child for module in layer.modules()}
    found = [(parent, name) for parent, name, child in lists if id(child) not in inner]
    if len(found) != 1:
        raise OptionError(
            f"layers= needs a model with one list of {total} layers; {type(model).__name__} has {len(found)}. "
            "Use the whole model, or another one."
        )
    return found[0]
