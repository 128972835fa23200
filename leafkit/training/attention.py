"""Compute attention in float32 inside a bfloat16 forward pass on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Float32Attention(TorchFunctionMode):
    """Make scaled dot-product attention compute in float32 inside the block, and return the dtype of its input.

    On a CPU, the backward pass of attention in torch 2.13 takes ten times as long in bfloat16 as in float32 (measured
    on Zen 4: 31 against 3 ms for 32 texts of 12 tokens, more than all matrix products of the layer together).
    """

    def __torch_function__(
        self, func: Callable, types: Iterable[type], args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Convert the arguments of attention to float32; call every other function unchanged."""
        kwargs = kwargs or {}
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        given = (args[0] if args else kwargs["query"]).dtype
        with torch.autocast("cpu", enabled=False):
            wide = func(*map(_wide, args), **{name: _wide(value) for name, value in kwargs.items()})
        return wide.to(given)


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
