"""Mixup: some texts are spliced with another, and the student is to write the blend of both vectors.

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

from leafkit.errors import OptionError
from leafkit.methods.batch import Batch, View
from leafkit.methods.method import Feed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from leafkit.types import Int64


@dataclass(frozen=True, kw_only=True)
class Mixup(Feed):
    """Puts the beginning of a text before the end of another of its batch; the target is the blend of both vectors.

    ``mode``: ``target``; ``text``, where the teacher reads the splice, needs a teacher at every step and is refused.
    ``share``: part of a batch that is spliced, 0 for off, 1 for full mixup. 0.4 is what the paper's partial mixup does.
    ``beta``: b of the Beta distribution of a (paper: 1). ``relation``: adds that loss, times ``weight`` (paper: 0.9).
    ``pmu_legacy``: draws the texts left alone with replacement, as the official code does: 0.1 splices 41% then.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2211.03946"
    off: ClassVar[Mapping[str, Any]] = {"share": 0.0}
    mixes_texts: ClassVar[bool] = True
    reconstruction: ClassVar[str] = (
        "for pixels, ceil(a n1) first tokens of a text and floor((1 - a) n2) last ones of its partner; a blend of unit "
        "vectors is a unit vector; cosines with the teacher's vectors of the batch are the logits; no cross-entropy"
    )

    weight: float = 0.9
    mode: Literal["target", "text"] = "target"
    share: float = 0.4
    beta: float = 1.0
    pmu_legacy: bool = False
    relation: bool = False

    def __post_init__(self) -> None:
        if self.mode != "target":
            raise OptionError(f"mixup:mode is {self.mode!r}, which needs a teacher at every step; wanted target")
        self.check_fields(
            {
                "share": (0 <= self.share <= 1, "0 to 1, a part of the batch"),
                "beta": (0 < self.beta < math.inf, "more than 0"),
            }
        )

    def views(self, view: View, state: Any) -> View:
        """``view`` with some texts spliced; these keep their row and role, and their label if both have the same."""
        import torch

        if self.share == 0:
            return view
        drawn, chosen = self.draw(view)
        ratio, partner = torch.from_numpy(drawn).to(view.teacher)[:, None], torch.from_numpy(chosen)
        mixed = ratio[:, 0] < 1
        blend = ratio * view.teacher + (1 - ratio) * view.teacher[partner]
        if bool(((view.teacher.norm(dim=-1) - 1).abs() < 0.01).all()):
            blend = torch.nn.functional.normalize(blend, dim=-1)
        return dataclasses.replace(
            view,
            features=splice(view.features, drawn, chosen),
            teacher=torch.where(mixed[:, None], blend, view.teacher),
            labels=torch.where(mixed & (view.labels != view.labels[partner]), -1, view.labels),
        )

    def draw(self, view: View) -> tuple[NDArray[numpy.float64], Int64]:
        """The ratio a, 1 for texts left alone, and the partner's place of each text, whatever the batch's order."""
        count = len(view.rows)
        draw = numpy.random.default_rng([view.seed, view.step, 11])
        alone = numpy.zeros(count, dtype=bool)
        legacy = draw.integers(count, size=int((1 - self.share) * count))
        alone[legacy if self.pmu_legacy else draw.permutation(count)[round(self.share * count) :]] = True
        order = numpy.argsort(view.rows.cpu().numpy(), kind="stable")
        ratio, partner = numpy.ones(count), numpy.arange(count)
        ratio[order] = numpy.where(alone, 1.0, draw.beta(self.beta, self.beta, count))
        partner[order] = order[draw.permutation(count)]
        return ratio, partner

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """The relation loss of each text if asked for."""
        from torch.nn.functional import normalize

        if not self.relation or not self.share:
            return {}
        student, teacher = (normalize(vectors.float(), dim=-1) for vectors in (batch.student, batch.teacher.detach()))
        return {"relation": relation(student @ teacher.T, teacher @ teacher.T)}


def relation(student: Tensor, teacher: Tensor) -> Tensor:
    """KL of softmax(z / std(z)) from teacher to student logits z, (rows,)."""
    from torch.nn import functional

    # The variance is clamped, not the deviation, whose gradient is not a number where all logits are equal.
    scales = (logits.var(dim=-1, keepdim=True, correction=0).clamp(min=1e-12).sqrt() for logits in (student, teacher))
    ours, theirs = (functional.log_softmax(z / scale, dim=-1) for z, scale in zip((student, teacher), scales))
    return functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=-1)


def splice(features: dict[str, Tensor], ratio: NDArray[numpy.float64], partner: Int64) -> dict[str, Tensor]:
    """``features`` in which a share ``ratio`` of each text is followed by the rest of its ``partner``.

    Padded texts keep their own first and the partner's last token, taken for special; flat texts have none. No text
    gets longer than the longer of the two, and one with itself stays as it is.
    """
    import torch

    ids = features["input_ids"]
    places = numpy.arange(ids.numel()).reshape(ids.shape)
    if "offsets" in features:
        texts = numpy.split(places, features["offsets"].cpu().numpy()[1:])
        texts = [_joined(text, texts[j], a, 0) for text, j, a in zip(texts, partner, ratio)]
        starts = torch.tensor(numpy.cumsum([0, *map(len, texts[:-1])])).to(features["offsets"])
        return features | {"input_ids": ids[torch.from_numpy(numpy.concatenate(texts))], "offsets": starts}
    mask = features["attention_mask"].bool().cpu().numpy()
    texts, index = [row[own] for row, own in zip(places, mask)], numpy.full(ids.shape, -1)
    for row, text, j, a in zip(index, texts, partner, ratio):
        joined = _joined(text, texts[j], a, 1)
        start = 0 if mask[:, 0].all() else len(row) - len(joined)
        row[start : start + len(joined)] = joined
    found, padded = torch.from_numpy(index).to(ids.device), torch.from_numpy(~mask).to(ids.device)

    def laid(values: Tensor) -> Tensor:
        # The padding of the batch, a sum of one, or 0 where it has none.
        return torch.where(found < 0, values[padded][:1].sum(), values.reshape(-1)[found.clamp(min=0)])

    return features | {name: laid(values) for name, values in features.items() if values.shape == ids.shape}


def _joined(text: Int64, other: Int64, ratio: float, edge: int) -> Int64:
    if ratio == 1:
        return text
    sizes = [max(len(tokens) - 2 * edge, 0) for tokens in (text, other)]
    head = math.ceil(ratio * sizes[0])
    tail = min(math.floor(sizes[1] - ratio * sizes[1]), max(sizes) - head)
    return numpy.concatenate([text[: edge + head], other[max(len(other) - edge - tail, edge) :]])
