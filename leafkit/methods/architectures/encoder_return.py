"""Return of the Encoder: a student that reads a text in both directions, and its rivals of equal size.

Paper: https://arxiv.org/abs/2501.16273

    encoder-decoder of N layers: 2/3 of N in the encoder, which reads the input once, and 1/3 of N in the decoder
    here, for N layers within the budget of parameters:
        bidirectional: N layers, every token attends to all tokens, vector = mean of the token states
        causal: N layers of the same size, every token attends to those before it, vector = mean or last token state
        two towers: 2/3 of N encode documents and 1/3 of N encode queries, both into the teacher's space
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, ClassVar, Literal, get_args

from leafkit.errors import OptionError
from leafkit.methods.architectures.diswot import Cost, Shape
from leafkit.methods.budget import Budget
from leafkit.methods.method import Architecture, PickedStudent
from leafkit.students.student import Body

Attention = Literal["bidirectional", "causal"]
Tower = Literal["both", "query", "document"]
Pooled = Literal["mean", "lasttoken"]

# The width of an attention head, the feed-forward factor of BERT, and the most layers that are tried.
HEAD, FEED_FORWARD, MOST_LAYERS = 32, 4, 48


@dataclass(frozen=True, kw_only=True)
class EncoderReturn(Architecture):
    """Build a BERT with as many layers as the budget allows; ``attention`` and ``tower`` make the rivals of equal size.

    The budget of parameters is for the layers, not for the tables of tokens and positions. With two towers it is for
    both together: train one student with ``tower=query`` and one with ``tower=document`` within the same budget. The
    teacher's space holds the vectors of both, so either can also be used with the teacher itself. The budget of
    milliseconds is for the student that is built. To turn the method off, name a student instead.

    ``attention``: ``bidirectional``, or ``causal`` as in a language model.
    ``pooling``: ``mean`` of the token states, or ``lasttoken``, the usual one for causal models. Mean pooling compares
    the directions of reading alone (ours mean).
    ``tower``: ``both`` sides with one student, or the ``query`` or ``document`` tower of two.
    ``width``: width of the layers, a multiple of 32 (paper: that of a model of 330M parameters; ours 192).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2501.16273"
    off: ClassVar[dict[str, Any]] = {}
    reconstruction: ClassVar[str] = (
        "the paper writes text, with a decoder that learns a language model's logits on the student's own writing; a "
        "vector needs no decoder and embedding teachers have no such logits, so this loss is left out and students "
        "learn by LEAF. The decoder's third of the layers becomes the query tower, because queries are what has to be "
        "fast"
    )

    attention: Attention = "bidirectional"
    pooling: Pooled = "mean"
    tower: Tower = "both"
    width: int = 192

    def __post_init__(self) -> None:
        known = {"attention": get_args(Attention), "pooling": get_args(Pooled), "tower": get_args(Tower)}
        checks = {name: (getattr(self, name) in words, " or ".join(words)) for name, words in known.items()}
        self.check_fields(checks | {"width": (self.width > 0 and self.width % HEAD == 0, f"a multiple of {HEAD}")})

    @property
    def needs(self) -> frozenset[str]:
        """The tokenizer of the teacher's model."""
        return frozenset({"model"})

    def pick(self, teacher: Any, texts: Sequence[str], budget: Budget, seed: int) -> PickedStudent:
        """Return the student of this kind with random weights; raise `OptionError` if none fits the budget."""
        shared = self.shared(teacher)
        return PickedStudent(config=self.shape(shared, budget).config(shared), pooling=self.pooling)

    def shared(self, teacher: Any) -> dict[str, Any]:
        """Return the entries of the config that do not depend on the budget."""
        tokenizer = Body.of(teacher).tokenizer
        causal = {"is_decoder": True, "use_cache": False} if self.attention == "causal" else {}
        return {
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id or 0,
            "max_position_embeddings": int(teacher.max_seq_length or 512),
            **causal,
        }

    def shape(self, shared: dict[str, Any], budget: Budget) -> Shape:
        """Return the shape with the most layers within ``budget``; raise `OptionError` if it would have none."""
        one = Shape(layers=1, hidden=self.width, heads=self.width // HEAD, feed_forward=FEED_FORWARD)
        cost = Cost(shared, budget, "left_out")
        layer = cost.parameters(one)
        total = MOST_LAYERS if budget.parameters is None else min(budget.parameters // layer, MOST_LAYERS)
        # The time is limited for the tower alone, the parameters for both.
        timed = Cost(shared, Budget(milliseconds=budget.milliseconds))
        shapes = [replace(one, layers=count + 1) for count in range(split(total, self.tower))]
        # Upwards, because the time of deep shapes takes long to measure.
        fitting = list(takewhile(timed.fits, shapes))
        if not fitting:
            raise OptionError(
                f"no student fits the budget of {budget}: a layer of width {self.width} has {layer:,} parameters and "
                f"takes {timed.milliseconds(one):.2f} ms, and two towers need two layers. Raise the budget, or lower "
                "encoder_return:width."
            )
        return fitting[-1]


def split(total: int, tower: Tower) -> int:
    """Return how many of ``total`` layers ``tower`` has: a third for queries, the others for documents."""
    queries = (total + 1) // 3
    return {"both": total, "query": queries, "document": total - queries}[tower]
