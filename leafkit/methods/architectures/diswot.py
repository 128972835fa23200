"""DisWOT: search for the student whose untrained features relate texts most like the teacher's, within a budget.

Paper: https://arxiv.org/abs/2303.15678

    A = F F' with unit rows, for centred features F (texts, width);    relation = - |A_T - A_S|_F^2 / B^2
    G = gradient of the cross-entropy with respect to a random head (K, width);
    semantic = - |g(G_T) - g(G_S)|_F^2 / K^2, where g(G) = G G' with unit rows
    score = relation + semantic, to be maximised, for B texts and K classes
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from leafkit.errors import OptionError
from leafkit.methods.budget import Budget
from leafkit.methods.method import Architecture, PickedStudent
from leafkit.students.student import Body

# The widths that the search chooses from.
HIDDEN = (32, 48, 64, 96, 128, 192, 256, 320, 384, 512)
# Classes and random heads of the semantic score, texts of a batch, and tokens of a text.
CLASSES, HEADS, TEXTS, TOKENS = 8, 32, 64, 32

# The time of a candidate is the median of this many timings of a text of this many tokens.
TIMED_TOKENS, TIMINGS = 16, 7

Initial = Literal["random", "pretrained"]
Table = Literal["counted", "left_out"]


@dataclass(frozen=True, kw_only=True)
class Diswot(Architecture):
    """Search the layers, width, heads and feed-forward size of a BERT by scores of untrained models.

    No candidate is trained. Times are measured, so two searches may differ if a candidate is near the time limit of
    the budget. To turn the search off, name a student instead.

    ``population``: number of shapes alive in the aging evolution (paper: 36; ours 12, so that the search takes
    seconds).
    ``cycles``: number of cycles of the evolution; each adds one shape (paper: 1000; ours 36).
    ``tournament``: number of shapes from which the parent of a cycle is chosen (paper: 8; ours 4).
    ``inits``: number of random initialisations that a score is averaged over (paper: 1; ours 5).
    ``batches``: number of batches of 64 texts that a score is averaged over (paper: 1; ours 2).
    ``teacher_init``: weights of the teacher during the search: ``random`` (paper) or ``pretrained``.
    ``table``: with ``left_out``, the budget of parameters is for the layers alone. With ``counted``, a large table of
    tokens leaves so few widths that the width alone decides, whatever the scores say (ours counted).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2303.15678"
    off: ClassVar[dict[str, Any]] = {}
    reconstruction: ClassVar[str] = (
        "features are pooled sentence vectors minus their mean, because the part that all texts share would hide their "
        "differences; the class of a text is the nearest of eight texts by the teacher's vectors; gradients are "
        "compared between classes, because widths differ, and for 32 random heads instead of one; the paper's weights "
        "of the two terms were not found, so both are 1"
    )

    population: int = 12
    cycles: int = 36
    tournament: int = 4
    inits: int = 5
    batches: int = 2
    teacher_init: Initial = "random"
    table: Table = "counted"

    def __post_init__(self) -> None:
        least = {"population": 1, "cycles": 0, "tournament": 1, "inits": 1, "batches": 1}
        checks = {name: (getattr(self, name) >= bound, f"{bound} or more") for name, bound in least.items()}
        for name, known in (("teacher_init", get_args(Initial)), ("table", get_args(Table))):
            checks[name] = (getattr(self, name) in known, " or ".join(known))
        self.check_fields(checks)

    @property
    def needs(self) -> frozenset[str]:
        """The layers of the teacher's model."""
        return frozenset({"model"})

    def pick(self, teacher: Any, texts: Sequence[str], budget: Budget, seed: int) -> PickedStudent:
        """Return the best student found, with random weights; raise `OptionError` if no student fits the budget."""
        scorer = Scorer(teacher, texts, self, seed)
        cost = Cost(scorer.shared, budget, self.table)
        smallest = Shape(layers=1, hidden=HIDDEN[0], heads=1, feed_forward=1)
        if not cost.fits(smallest):
            size, longest = cost.parameters(smallest), cost.milliseconds(smallest)
            raise OptionError(
                f"no student fits the budget of {budget}: the smallest student, one layer of width {HIDDEN[0]}, has "
                f"{size:,} parameters and takes {longest:.2f} ms. Raise the budget."
            )
        best = evolve(lambda shape: scorer.scores(shape).total, cost.fits, smallest, self, random.Random(seed))
        return PickedStudent(config=best.config(scorer.shared))


@dataclass(frozen=True, kw_only=True, order=True)
class Shape:
    """A candidate. ``hidden`` is the width; the feed-forward part is ``feed_forward`` times as wide."""

    layers: int
    hidden: int
    heads: int
    feed_forward: int

    def config(self, shared: dict[str, Any]) -> dict[str, Any]:
        """Return the BERT config of this shape with ``shared``, the entries that all candidates have in common."""
        return shared | {
            "model_type": "bert",
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "intermediate_size": self.feed_forward * self.hidden,
        }

    def mutated(self, draw: random.Random) -> Shape:
        """Return a copy with one of the four values drawn anew."""
        hidden = self.hidden
        match draw.choice(("layers", "hidden", "heads", "feed_forward")):
            case "layers":
                return dataclasses.replace(self, layers=draw.randint(1, 6))
            case "hidden":
                hidden = draw.choice(HIDDEN)
                return dataclasses.replace(self, hidden=hidden, heads=draw.choice(_heads(hidden)))
            case "heads":
                return dataclasses.replace(self, heads=draw.choice(_heads(hidden)))
            case _:
                return dataclasses.replace(self, feed_forward=draw.randint(1, 4))


def evolve(
    score: Callable[[Shape], float],
    fits: Callable[[Shape], bool],
    start: Shape,
    options: Diswot,
    draw: random.Random,
) -> Shape:
    """Return the best shape found by aging evolution.

    In each cycle, the best shape of a random tournament gets a mutated child, and the oldest shape is removed. Only
    shapes for which ``fits`` is true are scored.
    """

    def child(parent: Shape, mutations: int) -> Shape:
        for _ in range(200):
            candidate = parent
            for _ in range(mutations):
                candidate = candidate.mutated(draw)
            if candidate != parent and fits(candidate):
                return candidate
        return parent

    alive = [(score(shape), shape) for shape in (child(start, 8) for _ in range(options.population))]
    best = max(alive)
    for _ in range(options.cycles):
        parent = max(draw.sample(alive, min(options.tournament, len(alive))))[1]
        shape = child(parent, 1)
        alive = [*alive[1:], (score(shape), shape)]
        best = max(best, alive[-1])
    return best[1]


class Cost:
    """The number of parameters and the time of shapes, each measured once.

    ``table`` says whether the embeddings of tokens and positions count as parameters.
    """

    def __init__(self, shared: dict[str, Any], budget: Budget, table: Table = "counted") -> None:
        self._shared, self._budget, self._table = shared, budget, table
        self.parameters, self.milliseconds = cache(self._parameters), cache(self._milliseconds)

    def fits(self, shape: Shape) -> bool:
        """Return whether ``shape`` fits the budget; the time is measured only if the parameters fit."""
        most, longest = self._budget.parameters, self._budget.milliseconds
        if most is not None and self.parameters(shape) > most:
            return False
        return longest is None or self.milliseconds(shape) <= longest

    def _parameters(self, shape: Shape) -> int:
        with torch.device("meta"):
            named = _bert(shape.config(self._shared)).named_parameters()
            counted = self._table == "counted"
            return sum(value.numel() for name, value in named if counted or not name.startswith("embeddings."))

    def _milliseconds(self, shape: Shape) -> float:
        """Return the median time of one text of 16 tokens on one thread, in milliseconds."""
        model, threads = _bert(shape.config(self._shared)), torch.get_num_threads()
        ids = torch.zeros(1, TIMED_TOKENS, dtype=torch.int64)
        torch.set_num_threads(1)
        try:
            with torch.inference_mode():
                times = []
                for _ in range(TIMINGS + 2):
                    started = time.perf_counter()
                    model(input_ids=ids)
                    times.append(time.perf_counter() - started)
        finally:
            torch.set_num_threads(threads)
        return 1000 * sorted(times[2:])[TIMINGS // 2]


@dataclass(frozen=True)
class Scores:
    """The two terms of the score of a shape; higher is better."""

    relation: float
    semantic: float

    @property
    def total(self) -> float:
        """The score that the search maximises."""
        return self.relation + self.semantic


class Scorer:
    """Score shapes against one teacher; ``shared`` are the config entries that all candidates have in common."""

    def __init__(self, teacher: Any, texts: Sequence[str], options: Diswot, seed: int) -> None:
        self._options, self._seed = options, seed
        body = Body.of(teacher)
        self.shared = {
            "vocab_size": len(body.tokenizer),
            "pad_token_id": body.tokenizer.pad_token_id or 0,
            "max_position_embeddings": int(teacher.max_seq_length or 512),
        }
        draw = random.Random(seed)
        chosen = [draw.choices(list(texts), k=TEXTS) for _ in range(options.batches)]
        self._batches = [_tokenised(body.tokenizer, batch) for batch in chosen]
        self._labels = [_classes(teacher, batch) for batch in chosen]
        self._teacher = self._features(body.transformer.config, body.transformer)
        self.scores = cache(self._scores)

    def _scores(self, shape: Shape) -> Scores:
        from transformers import BertConfig

        student = self._features(BertConfig(**shape.config(self.shared)), None)
        pairs = list(zip(self._teacher, student, strict=True))
        relation = [relation_score(theirs, ours) for theirs, ours in pairs]
        semantic = [
            semantic_score(theirs, ours, self._labels[place % len(self._labels)], place)
            for place, (theirs, ours) in enumerate(pairs)
        ]
        return Scores(float(torch.stack(relation).mean()), float(torch.stack(semantic).mean()))

    def _features(self, config: Any, pretrained: Any) -> list[Tensor]:
        """Return the centred mean token states of each batch under each random initialisation.

        ``pretrained`` is the teacher's model, which keeps its weights with ``teacher_init=pretrained``; None for a
        candidate.
        """
        from transformers import AutoModel

        features = []
        for init in range(self._options.inits):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self._seed + init)
                keep = pretrained is not None and self._options.teacher_init == "pretrained"
                model: Any = pretrained if keep else AutoModel.from_config(config)
            model.eval()
            features += [_pooled(model, batch) for batch in self._batches]
        return features


def relation_score(teacher: Tensor, student: Tensor) -> Tensor:
    """Return how similar the relations between texts are, for features (texts, any width); 0 is best.

    The score does not change if the features are rotated.
    """
    difference = normalize(teacher @ teacher.T, dim=1) - normalize(student @ student.T, dim=1)
    return -difference.square().sum() / len(teacher) ** 2


def semantic_score(teacher: Tensor, student: Tensor, labels: Tensor, seed: int) -> Tensor:
    """Return how similar the relations between classes are, in the first gradients of random heads; 0 is best.

    ``labels`` (texts,) are below `CLASSES`.
    """
    grams = []
    for features in (teacher, student):
        draw, width = torch.Generator().manual_seed(seed), features.shape[1]
        heads = torch.randn(HEADS, CLASSES, width, generator=draw).to(features) / width**0.5
        gradient = head_gradient(features, heads, labels)
        grams.append(normalize(gradient @ gradient.mT, dim=-1))
    return -(grams[0] - grams[1]).square().sum() / (HEADS * CLASSES**2)


def head_gradient(features: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of the mean cross-entropy of ``features @ head.T`` with respect to ``head``.

    ``head`` is (classes, width), or (heads, classes, width) for several heads.
    """
    error = (features @ head.mT).softmax(dim=-1) - one_hot(labels, head.shape[-2]).to(features)
    return error.mT @ features / len(features)


def _heads(hidden: int) -> list[int]:
    """Return the numbers of attention heads that split the width ``hidden`` into heads of 16 or more."""
    return [heads for heads in (1, 2, 4, 6, 8, 12) if hidden % heads == 0 and hidden // heads >= 16]


def _bert(config: dict[str, Any]) -> nn.Module:
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**config), add_pooling_layer=False).eval()


def _tokenised(tokenizer: Any, texts: list[str]) -> dict[str, Tensor]:
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
    return {name: tokens[name] for name in ("input_ids", "attention_mask")}


@torch.inference_mode()
def _pooled(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return the mean token state of each text, minus the mean over the texts."""
    mask = batch["attention_mask"][..., None].float()
    pooled = (model(**batch).last_hidden_state.float() * mask).sum(dim=1) / mask.sum(dim=1)
    return pooled - pooled.mean(dim=0)


def _classes(teacher: Any, texts: list[str]) -> Tensor:
    """Return the class of each text: the nearest of the first `CLASSES` texts by the teacher's vectors."""
    vectors = torch.from_numpy(teacher.encode(texts, normalize_embeddings=True, show_progress_bar=False))
    return (vectors @ vectors[:CLASSES].T).argmax(dim=-1)
