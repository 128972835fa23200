"""Keep some layers of a transformer and remove the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from leafkit.errors import OptionError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def check_count(total: int, count: int) -> None:
    """Raise `OptionError` unless ``count`` of ``total`` layers can be kept."""
    if not 1 <= count <= total:
        raise OptionError(f"layers is {count}; expected 1 to {total}, the number of layers that the model has.")


def evenly_spaced(total: int, count: int) -> tuple[int, ...]:
    """Choose ``count`` of ``total`` layers at equal distances, including the first and the last.

    Positions are rounded to the nearest layer, halves to the even one: 3 of 6 are 0, 2, 5 and 6 of 12 are
    DistilBERT's 0, 2, 4, 7, 9, 11. A single layer is the first one, because its input is what it was trained on.
    """
    check_count(total, count)
    if count == 1:
        return (0,)
    return tuple(round(i * (total - 1) / (count - 1)) for i in range(count))


def keep_layers(model: PreTrainedModel, layers: int | tuple[int, ...]) -> tuple[int, ...]:
    """Keep some ``layers`` of ``model`` and remove the others, in place.

    ``layers`` is the number of evenly spaced layers to keep, or their positions. The weights do not change. Returns
    the positions of the kept layers, counted from 0. Raises `OptionError` for a position that the model does not have,
    and for a model that does not hold its layers in one list.
    """
    stack = Layers(model)
    kept = evenly_spaced(stack.total, layers) if isinstance(layers, int) else layers
    if kept[-1] >= stack.total:
        raise OptionError(f"layers has {kept[-1]}; expected 0 to {stack.total - 1}, because layers count from 0.")
    if (wrong := stack.misplaced(kept)) is not None:
        raise OptionError(
            f"layer {kept[wrong]} of {type(model).__name__} cannot become layer {wrong} of a student: the weights of "
            f"the two differ in shape. Keep layer {wrong} itself, as in layers={','.join(map(str, range(len(kept))))}"
        )
    stack.keep(kept)
    return kept


class Layers:
    """All ``total`` layers that ``model`` had at first, from which any selection can be put back into the model."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Remember the layers of ``model``; raise `OptionError` if the model does not hold them in one list."""
        self.total: int = model.config.num_hidden_layers
        self._config = model.config
        self._parent, self._name = _stack(model, self.total)
        self._layers = list(getattr(self._parent, self._name))
        self._types = getattr(model.config, "layer_types", None)
        self._shapes = [{name: weight.shape for name, weight in layer.named_parameters()} for layer in self._layers]

    @property
    def current(self) -> nn.ModuleList:
        """The layers that the model has now."""
        return getattr(self._parent, self._name)

    @property
    def first_is_shared(self) -> bool:
        """Whether the first layer holds weights that the others lack and use, such as T5's relative positions."""
        return not set(self._shapes[0]) <= set(self._shapes[-1])

    def misplaced(self, kept: Sequence[int]) -> int | None:
        """Return the first position in ``kept`` whose layer does not fit there; None if all layers fit.

        A layer fits if its weights have the shapes that the model's own layer at this position has, because the model
        is built from its config when the student is opened again. The first layer often differs from the others: in T5
        it holds what all layers share, and in ModernBERT it has no norm before the attention.
        """
        pairs = enumerate(kept)
        return next((place for place, layer in pairs if self._shapes[place] != self._shapes[layer]), None)

    def keep(self, kept: Sequence[int]) -> None:
        """Put the layers ``kept``, counted from 0 among all layers, into the model and update the model's config."""
        from torch import nn

        setattr(self._parent, self._name, nn.ModuleList([self._layers[i] for i in kept]))
        for position, layer in enumerate(self.current):
            for module in layer.modules():
                if hasattr(module, "layer_idx"):
                    setattr(module, "layer_idx", position)  # noqa: B010 - not every module declares it
        self._config.num_hidden_layers = len(kept)
        if self._types:
            self._config.layer_types = [self._types[i] for i in kept]


def layer_stack(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list of all layers of ``model``; raise `OptionError` if the model does not hold them in one list."""
    parent, name = _stack(model, model.config.num_hidden_layers)
    return cast("nn.ModuleList", getattr(parent, name))


def _stack(model: PreTrainedModel, total: int) -> tuple[nn.Module, str]:
    """Find the module and attribute that hold the list of all ``total`` layers."""
    from torch import nn

    lists = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == total
    ]
    # The parts of a layer can be a list of the same length.
    inner = {id(module) for _, _, child in lists for layer in child for module in layer.modules()}
    found = [(parent, name) for parent, name, child in lists if id(child) not in inner]
    if len(found) != 1:
        raise OptionError(
            f"layers= needs a model with one list of {total} layers, but {type(model).__name__} has {len(found)}. "
            "Remove layers= to use the whole model, or choose another model."
        )
    return found[0]
