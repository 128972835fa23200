"""CoMD: grow the training texts in rounds by the neighbours of texts that the student gets wrong.

Paper: https://arxiv.org/abs/2311.08213

    error(x) = ||s(x) - t(x)||^2, or 1 - (share of the 10 nearest texts that student and teacher have in common)
    difficult = the held texts with the largest errors, if error(x) > threshold; held = not yet trained on
    mined = held texts that are nearest to a difficult text by the cosine of teacher vectors
    training texts of the next round = training texts + mined + ``easy`` times as many held texts that are not difficult
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from leafkit.methods.growing import GrowingFeed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.methods.setting import Setting
    from leafkit.types import Int64

ErrorKind = Literal["distance", "overlap"]
Growth = Literal["neighbours", "random"]

# The number of nearest texts that are compared for ``error=overlap``.
NEAREST = 10


@dataclass(frozen=True, kw_only=True)
class Comd(GrowingFeed):
    """Train on a growing set of texts; each round adds neighbours of texts on which the student's error is large.

    The teacher encodes all texts, because its vectors show the errors and the neighbours. A round adds fewer texts than
    ``picks``, or none, if few texts are difficult or most of these already have all their ``neighbours``. The state
    records the step at which each text was added and the difficult text that it was mined for.

    ``every``: number of steps between two rounds; 0 keeps the first texts only (paper: a training each).
    ``first``: number of texts drawn at random before step 0, at most the largest set (paper: the given instructions).
    ``picks``: largest number of texts added in each round (paper: not known to us).
    ``share``: size of the largest set, as a share of the training texts; 1 disables the method. The defaults give
    four rounds (paper: 4) of 4,000 texts.
    ``candidates``: largest number of held texts that a round measures, drawn from the seed (ours).
    ``error``: what makes a text difficult: the ``distance`` of the student from the teacher, or the ``overlap`` of
    their nearest texts (paper: scores of the two answers).
    ``difficult``: largest share of the measured texts that is difficult (ours).
    ``threshold``: the error of a difficult text is larger than this (paper: not known to us).
    ``neighbours``: largest number of texts mined for one difficult text, in all rounds together (ours).
    ``easy``: number of easy texts added with each mined text (paper: not known to us).
    ``growth``: which texts are added: ``neighbours`` of difficult texts, or ``random`` texts as a baseline.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2311.08213"
    elicits: ClassVar[tuple[str, ...]] = ("curation", "feedback")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    reconstruction: ClassVar[str] = (
        "neighbours in the given texts replace the instructions that the paper's teacher writes; errors of vectors "
        "replace scores of answers and are measured on texts not yet trained on, not on the training texts; the "
        "paper's score, threshold and mix are unknown to us, and ours are assumptions; one student is trained with "
        "LEAF through all rounds; the number of texts mined for one difficult text is limited"
    )
    small: ClassVar[Mapping[str, Any]] = {"every": 5, "first": 60, "picks": 20, "share": 0.8}

    first: int = 1000
    picks: int = 500
    share: float = 0.75
    error: ErrorKind = "distance"
    difficult: float = 0.2
    threshold: float = 0.0
    neighbours: int = 4
    easy: int = 1
    growth: Growth = "neighbours"

    def __post_init__(self) -> None:
        super().__post_init__()
        errors, growths = get_args(ErrorKind), get_args(Growth)
        self.check_fields(
            {
                "error": (self.error in errors, ", ".join(errors)),
                "difficult": (0 < self.difficult <= 1, "more than 0 and at most 1"),
                "threshold": (self.threshold >= 0, "0 or more"),
                "neighbours": (self.neighbours >= 1, "1 or more texts"),
                "easy": (self.easy >= 0, "0 or more texts"),
                "growth": (self.growth in growths, ", ".join(growths)),
            }
        )

    def build(self, setting: Setting) -> nn.Module:
        """Return ``selected``, ``joined`` and ``parent``, each (texts,).

        ``joined`` is the step at which a text was added, -1 for a held text. ``parent`` is the row of the difficult
        text that a text was mined for, -1 for all other texts.
        """
        import torch

        state = super().build(setting)
        state.register_buffer("joined", state.get_buffer("selected").long() - 1)
        state.register_buffer("parent", torch.full((setting.texts,), -1))
        return state

    def choose(self, state: Any, setting: Setting, candidates: Int64, most: int, step: int) -> Int64:
        """Return mined and easy texts in the exact ratio, and record when and why each was added."""
        import torch

        groups = most // (1 + self.easy)
        if groups == 0 or len(candidates) < 2:
            return candidates[:0]
        if self.growth == "random":
            rows = candidates[: groups * (1 + self.easy)]
        else:
            rows, parents = self._grow(state, setting, candidates, groups)
            mined = torch.from_numpy(rows[: len(parents)]).to(state.parent.device)
            state.parent[mined] = torch.from_numpy(parents).to(state.parent.device)
        state.joined[torch.from_numpy(rows).to(state.joined.device)] = step
        return rows

    def _grow(self, state: Any, setting: Setting, candidates: Int64, groups: int) -> tuple[Int64, Int64]:
        """Return at most ``groups`` mined rows followed by the easy rows, and the parents of the mined rows."""
        import torch

        teacher = torch.from_numpy(setting.targets(candidates))
        wrong = student_errors(torch.from_numpy(setting.student(candidates)), teacher, self.error)
        difficult = difficult_texts(wrong, self.difficult, self.threshold)
        parents = state.parent.cpu()
        children = torch.bincount(parents[parents >= 0], minlength=setting.texts)
        room = self.neighbours - children[torch.from_numpy(candidates)[difficult]]
        mined, reasons = mine(teacher, difficult, room, groups)
        is_easy = torch.ones(len(candidates), dtype=torch.bool)
        is_easy[difficult] = is_easy[mined] = False
        easy = is_easy.nonzero()[:, 0]
        if self.easy:
            groups = min(groups, len(easy) // self.easy)
        mined, reasons = mined[:groups], reasons[:groups]
        chosen = torch.cat([mined, easy[: self.easy * len(mined)]])
        return candidates[chosen.numpy()], candidates[reasons.numpy()]


def student_errors(student: Tensor, teacher: Tensor, error: ErrorKind) -> Tensor:
    """Return the error of each text, (rows,), from the vectors of both sides, (rows, dim); 0 where they agree."""
    if error == "distance":
        return (student - teacher).square().sum(dim=-1)
    ours, theirs = nearest_texts(student), nearest_texts(teacher)
    return 1 - (ours[:, :, None] == theirs[:, None, :]).any(dim=2).double().mean(dim=1)


def nearest_texts(vectors: Tensor) -> Tensor:
    """Return the positions of the `NEAREST` other texts by cosine, (rows, nearest); ``vectors`` are (rows, dim)."""
    import torch
    from torch.nn.functional import normalize

    points = normalize(vectors, dim=-1)
    found = []
    for places in torch.arange(len(points)).split(1024):
        cosines = points[places] @ points.T
        cosines[torch.arange(len(places)), places] = -float("inf")
        found.append(cosines.topk(min(NEAREST, len(points) - 1)).indices)
    return torch.cat(found)


def difficult_texts(errors: Tensor, share: float, threshold: float) -> Tensor:
    """Return the positions of the largest ``share`` of the ``errors`` (rows,), largest first, if above ``threshold``.

    The first text wins a tie.
    """
    largest = errors.argsort(descending=True, stable=True)[: round(share * len(errors))]
    return largest[errors[largest] > threshold]


def mine(teacher: Tensor, difficult: Tensor, room: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the positions of at most ``most`` neighbours of ``difficult`` texts, and the difficult text of each.

    ``teacher`` are the vectors of all candidates, (rows, dim). Each difficult text in turn takes its nearest candidates
    by cosine, except itself and those already taken, and at most as many as its ``room``.
    """
    import torch
    from torch.nn.functional import normalize

    points = normalize(teacher, dim=-1)
    free = torch.ones(len(points), dtype=torch.bool)
    mined: list[int] = []
    parents: list[int] = []
    for place, places_left in zip(difficult.tolist(), room.tolist(), strict=True):
        others = free.clone()
        others[place] = False
        count = min(places_left, most - len(mined), int(others.sum()))
        if count > 0:
            taken = (points @ points[place]).masked_fill(~others, -float("inf")).topk(count).indices
            free[taken] = False
            mined += taken.tolist()
            parents += [place] * count
    return torch.tensor(mined, dtype=torch.int64), torch.tensor(parents, dtype=torch.int64)
