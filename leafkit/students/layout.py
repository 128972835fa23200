"""How token ids on disk become one batch: padded to a rectangle, or end to end for a token table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy
from numpy.typing import NDArray

from leafkit.types import Int64

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """The form of a batch of token ids.

    ``padded`` batches are rectangles filled with ``pad_id``, on the ``left`` or the right, with an attention mask and,
    if ``token_types`` is set, token types. Batches for a token table are flat, with an offset for each text.
    """

    padded: bool
    pad_id: int = 0
    left: bool = False
    token_types: bool = False

    def features(self, tokens: NDArray[numpy.int32], starts: Int64, lengths: Int64) -> dict[str, Tensor]:
        """Return the texts at ``starts`` with ``lengths`` in the flat array ``tokens`` as one batch of tensors."""
        import torch

        width = int(lengths.max(initial=1))
        columns = numpy.arange(width)
        if self.left:
            columns = columns - (width - lengths[:, None])
            mask = columns >= 0
        else:
            mask = columns < lengths[:, None]
        flat = tokens[(starts[:, None] + columns)[mask]].astype(numpy.int64)
        if not self.padded:
            offsets = numpy.concatenate([[0], numpy.cumsum(lengths)[:-1]]).astype(numpy.int64)
            return {"input_ids": torch.from_numpy(flat), "offsets": torch.from_numpy(offsets)}
        ids = numpy.full(mask.shape, self.pad_id, dtype=numpy.int64)
        ids[mask] = flat
        features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask.astype(numpy.int64))}
        if self.token_types:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        return features
