"""Mixup: splice some texts with another text; the target is the vector of the spliced text, or a blend of both vectors.

Paper: https://arxiv.org/abs/2211.03946

    x = a x_1 + (1 - a) x_2,    t = a t_1 + (1 - a) t_2,    a ~ Beta(b, b)
    L_relation = KL(softmax(z_T / std(z_T)) || softmax(z_S / std(z_S))),    z = logits of teacher and student
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy

from leafkit.methods.batch import Batch, View
from leafkit.methods.method import Feed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from leafkit.types import Int64


@dataclass(frozen=True, kw_only=True)
class Mixup(Feed):
    """Join the beginning of a text with the end of another text, and give it a target.

    ``weight``: multiplies the relation loss (paper: 0.9).
    ``mode``: with ``text`` (paper) the live teacher encodes each spliced text; with ``target`` (ours) the vectors of
    both texts are blended in the ratio of the splice, which needs no teacher in the step.
    ``share``: share of a batch that is spliced; 0 splices nothing, 1 is full mixup (ours 0.4, the paper's partial
    mixup).
    ``beta``: b of the Beta distribution of the ratio a (paper: 1).
    ``relation``: if true, add the relation loss L_relation, also to texts that are not spliced (paper: true; ours
    false).
    ``pmu_legacy``: draw the texts that stay unspliced with replacement, as the official code does; ``share=0.1`` then
    splices 41 %.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2211.03946"
    elicits: ClassVar[tuple[str, ...]] = ("labeling",)
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    off: ClassVar[Mapping[str, Any]] = {"share": 0.0, "relation": False}
    mixes_texts: ClassVar[bool] = True
    reconstruction: ClassVar[str] = (
        "instead of pixels, the first ceil(a n1) tokens of a text and the last floor((1 - a) n2) tokens of its partner "
        "are joined; a blend of unit vectors is normalised; logits are cosines with the teacher's vectors of the "
        "batch; there is no cross-entropy"
    )
    small: ClassVar[Mapping[str, Any]] = {"every": 5, "share": 0.5, "relation": True}

    weight: float = 0.9
    mode: Literal["target", "text"] = "target"
    share: float = 0.4
    beta: float = 1.0
    pmu_legacy: bool = False
    relation: bool = False

    def __post_init__(self) -> None:
        self.check_fields(
            {
                "share": (0 <= self.share <= 1, "0 to 1, a share of the batch"),
                "beta": (0 < self.beta < math.inf, "more than 0"),
            }
        )

    @property
    def needs(self) -> frozenset[str]:
        """The live teacher, if it encodes spliced texts."""
        return frozenset({"live"} if self.mode == "text" and self.share > 0 else ())

    def views(self, view: View, state: Any) -> View:
        """Return ``view`` with some texts spliced; with ``mode=text``, the training encodes the spliced texts.

        A spliced text keeps its row and role. It keeps its label only if its partner has the same label.
        """
        import torch

        if self.share == 0:
            return view
        ratios, partners = self.draw(view)
        ratio, partner = torch.from_numpy(ratios).to(view.teacher)[:, None], torch.from_numpy(partners)
        mixed = ratio[:, 0] < 1
        target = view.teacher
        if self.mode == "target":
            target = torch.where(mixed[:, None], blend(target, ratio, partner), target)
        return dataclasses.replace(
            view,
            features=splice(view.features, ratios, partners),
            teacher=target,
            labels=torch.where(mixed & (view.labels != view.labels[partner]), -1, view.labels),
        )

    def draw(self, view: View) -> tuple[NDArray[numpy.float64], Int64]:
        """Return the ratio a of each text (1 for an unspliced text) and the position of its partner, both (rows,).

        The draw does not depend on the order of the batch.
        """
        count = len(view.rows)
        draw = numpy.random.default_rng([view.seed, view.step, 11])
        unspliced = numpy.zeros(count, dtype=bool)
        legacy = draw.integers(count, size=int((1 - self.share) * count))
        unspliced[legacy if self.pmu_legacy else draw.permutation(count)[round(self.share * count) :]] = True
        order = numpy.argsort(view.rows.cpu().numpy(), kind="stable")
        ratio, partner = numpy.ones(count), numpy.arange(count)
        ratio[order] = numpy.where(unspliced, 1.0, draw.beta(self.beta, self.beta, count))
        partner[order] = order[draw.permutation(count)]
        return ratio, partner

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the relation loss of each text, (rows,), or nothing unless ``relation`` is true."""
        from torch.nn.functional import normalize

        if not self.relation:
            return {}
        student, teacher = (normalize(vectors.float(), dim=-1) for vectors in (batch.student, batch.teacher.detach()))
        return {"relation": relation(student @ teacher.T, teacher @ teacher.T)}


def blend(vectors: Tensor, ratio: Tensor, partner: Tensor) -> Tensor:
    """Return ``ratio`` x own vector + (1 - ``ratio``) x the ``partner``'s vector, (rows, dim).

    ``ratio`` is (rows, 1) and ``partner`` (rows,). If all ``vectors`` have length 1, so has the blend.
    """
    import torch

    blended = ratio * vectors + (1 - ratio) * vectors[partner]
    unit = bool(((vectors.norm(dim=-1) - 1).abs() < 0.01).all())
    return torch.nn.functional.normalize(blended, dim=-1) if unit else blended


def relation(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the KL divergence of softmax(z / std(z)) from teacher to student, (rows,), for logits z (rows, count)."""
    from torch.nn import functional

    # Clamp the variance, not its root: the gradient of the root is NaN if all logits are equal.
    scales = (logits.var(dim=-1, keepdim=True, correction=0).clamp(min=1e-12).sqrt() for logits in (student, teacher))
    ours, theirs = (functional.log_softmax(z / scale, dim=-1) for z, scale in zip((student, teacher), scales))
    return functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=-1)


def splice(features: dict[str, Tensor], ratio: NDArray[numpy.float64], partner: Int64) -> dict[str, Tensor]:
    """Return ``features`` in which each text is its own first tokens followed by the last tokens of its partner.

    ``ratio`` (rows,) is the share of the text's own tokens, ``partner`` (rows,) the position of its partner. In padded
    features the first and the last token are special: the text keeps its own first and the partner's last token. Flat
    features of a token table have no special tokens. The result is never longer than the longer of the two texts. A
    text that is its own partner does not change.
    """
    import torch

    ids = features["input_ids"]
    positions = numpy.arange(ids.numel()).reshape(ids.shape)
    if "offsets" in features:
        texts = numpy.split(positions, features["offsets"].cpu().numpy()[1:])
        texts = [_join(text, texts[j], a, 0) for text, j, a in zip(texts, partner, ratio)]
        starts = torch.tensor(numpy.cumsum([0, *map(len, texts[:-1])])).to(features["offsets"])
        return features | {"input_ids": ids[torch.from_numpy(numpy.concatenate(texts))], "offsets": starts}
    mask = features["attention_mask"].bool().cpu().numpy()
    texts, index = [row[own] for row, own in zip(positions, mask)], numpy.full(ids.shape, -1)
    for row, text, j, a in zip(index, texts, partner, ratio):
        joined = _join(text, texts[j], a, 1)
        start = 0 if mask[:, 0].all() else len(row) - len(joined)
        row[start : start + len(joined)] = joined
    source, padded = torch.from_numpy(index).to(ids.device), torch.from_numpy(~mask).to(ids.device)

    def gather(values: Tensor) -> Tensor:
        # The sum of at most one padding value: the padding of the batch, or 0 without padding.
        return torch.where(source < 0, values[padded][:1].sum(), values.reshape(-1)[source.clamp(min=0)])

    return features | {name: gather(values) for name, values in features.items() if values.shape == ids.shape}


def _join(text: Int64, other: Int64, ratio: float, edge: int) -> Int64:
    """Return the first tokens of ``text`` and the last of ``other``; each end has ``edge`` special tokens."""
    if ratio == 1:
        return text
    sizes = [max(len(tokens) - 2 * edge, 0) for tokens in (text, other)]
    head = math.ceil(ratio * sizes[0])
    tail = min(math.floor(sizes[1] - ratio * sizes[1]), max(sizes) - head)
    return numpy.concatenate([text[: edge + head], other[max(len(other) - edge - tail, edge) :]])
