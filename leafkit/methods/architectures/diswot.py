"""DisWOT: the student whose untrained features relate a batch as the teacher's do, found by evolution in a budget.

Paper: https://arxiv.org/abs/2303.15678

    A = F F' with unit rows, of centred features F (texts, width);    relation = - |A_T - A_S|_F^2 / B^2
    G = gradient of the cross-entropy in a random head (K, width);  semantic = - |g(G_T) - g(G_S)|_F^2 / K^2,
    where g(G) = G G' with unit rows;    score = relation + semantic, to be maximised
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from leafkit.errors import OptionError
from leafkit.methods.budget import Budget
from leafkit.methods.method import Architecture

HIDDEN = (32, 48, 64, 96, 128, 192, 256, 320, 384, 512)
CLASSES, HEADS, TEXTS, TOKENS = 8, 32, 64, 32
TIMED_TOKENS, TIMINGS = 16, 7

Initial = Literal["random", "pretrained"]


@dataclass(frozen=True, kw_only=True)
class Diswot(Architecture):
    """Searches layers, width, heads and feed-forward size of a BERT by one-batch scores, without training any.

    A fixed student is what it is compared with: leave the search out. Times are measured, so that two searches may
    differ where a candidate is near the bound.

    ``population``, ``cycles``, ``tournament``: of the aging evolution (paper: 36, 1000, 8; ours for seconds).
    ``inits``, ``batches``: random weights and batches of 64 texts that a score is the mean of (paper: 1 and 1).
    ``teacher_init``: ``random`` weights (paper) or the ``pretrained`` ones.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2303.15678"
    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    off: ClassVar[dict[str, Any]] = {}
    reconstruction: ClassVar[str] = (
        "pooled sentence vectors are the features, less their mean, since what all texts share would hide what tells "
        "them apart; classes are the nearest of eight texts by the teacher; gradients are compared between classes, "
        "since widths differ, for 32 random heads and not one; the weights of both terms, 1 and 1, were not to be found"
    )

    population: int = 12
    cycles: int = 36
    tournament: int = 4
    inits: int = 5
    batches: int = 2
    teacher_init: Initial = "random"

    def __post_init__(self) -> None:
        least = {"population": 1, "cycles": 0, "tournament": 1, "inits": 1, "batches": 1}
        wanted = {name: (getattr(self, name) >= bound, f"{bound} or more") for name, bound in least.items()}
        known = get_args(Initial)
        self.check_fields(wanted | {"teacher_init": (self.teacher_init in known, " or ".join(known))})

    def pick(self, teacher: Any, texts: Sequence[str], budget: Budget, seed: int) -> dict[str, Any]:
        """The config of the best student found; raises `OptionError` where none fits."""
        scorer = Scorer(teacher, texts, self, seed)
        cost = Cost(scorer.shared, budget)
        smallest = Shape(layers=1, hidden=HIDDEN[0], heads=1, feed_forward=1)
        if not cost.fits(smallest):
            size, longest = cost.parameters(smallest), cost.milliseconds(smallest)
            raise OptionError(
                f"no student fits {budget}: the smallest, one layer of width {HIDDEN[0]}, has {size:,} parameters and "
                f"takes {longest:.2f} ms; raise the budget"
            )
        best = evolve(lambda shape: scorer.scores(shape).total, cost.fits, smallest, self, random.Random(seed))
        return best.config(scorer.shared)


@dataclass(frozen=True, kw_only=True, order=True)
class Shape:
    """What is searched: ``hidden`` is the width, ``feed_forward`` its multiple between attentions."""

    layers: int
    hidden: int
    heads: int
    feed_forward: int

    def config(self, shared: dict[str, Any]) -> dict[str, Any]:
        """A BERT config with what all candidates share."""
        return shared | {
            "model_type": "bert",
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "intermediate_size": self.feed_forward * self.hidden,
        }

    def mutated(self, draw: random.Random) -> Shape:
        """The same with one of its four values drawn anew."""
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


def evolve(score: Any, fits: Any, start: Shape, options: Diswot, draw: random.Random) -> Shape:
    """The best shape of an aging evolution: the best of a tournament has a child, and the oldest dies.

    ``fits(shape)`` says what may live. Only shapes that fit are ever scored.
    """

    def child(parent: Shape, mutations: int) -> Shape:
        for _ in range(200):
            found = parent
            for _ in range(mutations):
                found = found.mutated(draw)
            if found != parent and fits(found):
                return found
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
    """What shapes cost, each measured once."""

    def __init__(self, shared: dict[str, Any], budget: Budget) -> None:
        self._shared, self._budget = shared, budget
        self.parameters, self.milliseconds = cache(self._parameters), cache(self._milliseconds)

    def fits(self, shape: Shape) -> bool:
        """Whether the budget holds ``shape``; the time is taken only of those that are small enough."""
        most, longest = self._budget.parameters, self._budget.milliseconds
        if most is not None and self.parameters(shape) > most:
            return False
        return longest is None or self.milliseconds(shape) <= longest

    def _parameters(self, shape: Shape) -> int:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in _bert(shape.config(self._shared)).parameters())

    def _milliseconds(self, shape: Shape) -> float:
        """The median time of a text of sixteen tokens on one thread."""
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
    """How a shape does by either term; both are to be maximised."""

    relation: float
    semantic: float

    @property
    def total(self) -> float:
        """What the search goes by."""
        return self.relation + self.semantic


class Scorer:
    """Scores of shapes beside one teacher; ``shared`` is what all their configs have in common."""

    def __init__(self, teacher: Any, texts: Sequence[str], options: Diswot, seed: int) -> None:
        self._options, self._seed = options, seed
        transformer = teacher[0]
        self.shared = {
            "vocab_size": len(transformer.tokenizer),
            "pad_token_id": transformer.tokenizer.pad_token_id or 0,
            "max_position_embeddings": int(teacher.max_seq_length or 512),
        }
        draw = random.Random(seed)
        chosen = [draw.choices(list(texts), k=TEXTS) for _ in range(options.batches)]
        self._batches = [_tokenised(transformer.tokenizer, batch) for batch in chosen]
        self._labels = [_classes(teacher, batch) for batch in chosen]
        self._teacher = self._features(transformer.model.config, transformer.model)
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

    def _features(self, config: Any, own: Any) -> list[Tensor]:
        """Centred mean token states of every batch under every random start, or under ``own`` weights if asked for."""
        from transformers import AutoModel

        found = []
        for init in range(self._options.inits):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self._seed + init)
                pretrained = own is not None and self._options.teacher_init == "pretrained"
                model = own if pretrained else AutoModel.from_config(config)
            model.eval()
            found += [_pooled(model, batch) for batch in self._batches]
        return found


def relation_score(teacher: Tensor, student: Tensor) -> Tensor:
    """How alike the texts relate in both, features (texts, any width): 0 at best, the same for any rotation."""
    apart = normalize(teacher @ teacher.T, dim=1) - normalize(student @ student.T, dim=1)
    return -apart.square().sum() / len(teacher) ** 2


def semantic_score(teacher: Tensor, student: Tensor, labels: Tensor, seed: int) -> Tensor:
    """How alike random heads' first gradients relate the classes in both; ``labels`` (texts,) below ``CLASSES``."""
    grams = []
    for features in (teacher, student):
        draw, width = torch.Generator().manual_seed(seed), features.shape[1]
        heads = torch.randn(HEADS, CLASSES, width, generator=draw).to(features) / width**0.5
        gradient = head_gradient(features, heads, labels)
        grams.append(normalize(gradient @ gradient.mT, dim=-1))
    return -(grams[0] - grams[1]).square().sum() / (HEADS * CLASSES**2)


def head_gradient(features: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the mean cross-entropy of ``features @ head.T`` in ``head`` (classes, width), or each of many."""
    missed = (features @ head.mT).softmax(dim=-1) - one_hot(labels, head.shape[-2]).to(features)
    return missed.mT @ features / len(features)


def _heads(hidden: int) -> list[int]:
    return [heads for heads in (1, 2, 4, 6, 8, 12) if hidden % heads == 0 and hidden // heads >= 16]


def _bert(config: dict[str, Any]) -> nn.Module:
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**config), add_pooling_layer=False).eval()


def _tokenised(tokenizer: Any, texts: list[str]) -> dict[str, Tensor]:
    found = tokenizer(texts, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
    return {name: found[name] for name in ("input_ids", "attention_mask")}


@torch.inference_mode()
def _pooled(model: Any, batch: dict[str, Tensor]) -> Tensor:
    mask = batch["attention_mask"][..., None].float()
    pooled = (model(**batch).last_hidden_state.float() * mask).sum(dim=1) / mask.sum(dim=1)
    return pooled - pooled.mean(dim=0)


def _classes(teacher: Any, texts: list[str]) -> Tensor:
    """The nearest of the first texts by the teacher's own vectors."""
    vectors = torch.from_numpy(teacher.encode(texts, normalize_embeddings=True, show_progress_bar=False))
    return (vectors @ vectors[:CLASSES].T).argmax(dim=-1)
