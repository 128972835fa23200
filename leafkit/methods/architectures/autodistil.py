"""AutoDistil: train many students at once as slices of one network, then keep the best one within a budget.

Paper: https://arxiv.org/abs/2201.12507

    subnet of width h with m layers: every matrix is the upper left part W[:out, :in] of the network's, and its layer i
    is the network's layer floor(i M / m) of M; one bridge to the teacher's space for all: W[:, :h]
    each step: the largest subnet, the smallest and two random ones learn the same batch; their gradients are added
    loss = |s - t| + relation (MSE(R_Q) + MSE(R_K) + MSE(R_V)),    R_X = X X' / sqrt(d) for each of 12 parts of X,
    the queries, keys or values of the last layer, with d columns
    then: the subnet within the budget whose vectors are nearest to the teacher's on held-out texts, with its weights
"""

from __future__ import annotations

import copy
import random
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import linear, normalize

from leafkit.errors import OptionError
from leafkit.methods.architectures.diswot import Cost, Shape, Table
from leafkit.methods.budget import Budget
from leafkit.methods.method import Architecture, PickedStudent
from leafkit.students.layers import evenly_spaced
from leafkit.students.student import Body

SpaceName = Literal["mini", "tiny", "small"]
Start = Literal["teacher", "random"]

# The choices of each space: layers, widths, heads and feed-forward factors. Each has 4 x 4 x 4 x 4 subnets.
HEADS, FACTORS = (1, 2, 4, 8), (1, 2, 3, 4)
SPACES: dict[str, tuple[tuple[int, ...], ...]] = {
    "mini": ((1, 2, 3, 4), (64, 96, 128, 160), HEADS, FACTORS),
    "tiny": ((4, 5, 6, 7), (128, 160, 192, 224), HEADS, FACTORS),
    "small": ((9, 10, 11, 12), (256, 288, 320, 352), HEADS, FACTORS),
}
# Parts of the relations, tokens of a text, texts of a batch, and texts that the subnets are compared on.
RELATIONS, TOKENS, BATCH, HELD_OUT = 12, 32, 32, 128


@dataclass(frozen=True, kw_only=True)
class Autodistil(Architecture):
    """Train all 256 subnets of a ``space`` together before the training, and start it from the best that fits.

    Subnets share their weights, so the search costs one training of four forward passes a step, whatever the budget.
    LEAF then continues from the weights of the picked subnet. To turn the search off, name a student instead.

    ``space``: ``mini`` has 1 to 4 layers of width 64 to 160 (ours), ``tiny`` 4 to 7 of 128 to 224, ``small`` 9 to 12 of
    256 to 352 (paper: tiny, small and a base of 544 to 640).
    ``steps``: number of steps of the shared training (ours 300).
    ``texts``: number of texts of the shared training, which the teacher encodes first (ours 2000).
    ``rate``: learning rate of the first step, which falls to 0 (paper: 4e-5 from BERT-base; ours 1e-3).
    ``relation``: weight of the relations of the last layer (paper: 1, and no other loss; ours 0).
    ``start``: ``teacher`` slices the weights of a BERT as teacher (paper: of BERT-base); ``random`` draws them.
    ``table``: with ``left_out``, the budget of parameters is for the layers alone, without the table of tokens.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2201.12507"
    off: ClassVar[dict[str, Any]] = {}
    reconstruction: ClassVar[str] = (
        "vectors are learned by LEAF's distance through one bridge instead of by relations alone; relations are "
        "compared by their squared error, as the paper's code does; heads are 1, 2, 4 or 8, because a stock BERT "
        "splits its width into them, and feed-forward factors are whole numbers; the teacher encodes without prompts, "
        "which the training after the search corrects; the paper's base space is left out as too large for a CPU"
    )

    space: SpaceName = "mini"
    steps: int = 300
    texts: int = 2000
    rate: float = 1e-3
    relation: float = 0.0
    start: Start = "teacher"
    table: Table = "counted"

    def __post_init__(self) -> None:
        least = {"steps": 0, "texts": HELD_OUT + BATCH, "relation": 0}
        checks = {name: (getattr(self, name) >= bound, f"{bound} or more") for name, bound in least.items()}
        checks["rate"] = (self.rate > 0, "more than 0")
        for name, known in (("space", SpaceName), ("start", Start), ("table", Table)):
            checks[name] = (getattr(self, name) in get_args(known), " or ".join(get_args(known)))
        self.check_fields(checks)

    @property
    def needs(self) -> frozenset[str]:
        """The layers and the tokenizer of the teacher's model."""
        return frozenset({"model"})

    def pick(self, teacher: Any, texts: Sequence[str], budget: Budget, seed: int) -> PickedStudent:
        """Return the best subnet within the budget, with its weights; raise `OptionError` if none fits.

        The weights lie in a temporary folder that is deleted together with the returned object.
        """
        shared = shared_config(teacher)
        shapes = subnets(self.space)
        cost = Cost(shared, budget, self.table)
        fitting = [shape for shape in shapes if cost.fits(shape)]
        if not fitting:
            raise OptionError(
                f"no student fits the budget of {budget}: the smallest one of the space {self.space} has "
                f"{cost.parameters(shapes[0]):,} parameters and takes {cost.milliseconds(shapes[0]):.2f} ms. Raise the "
                "budget, or choose a smaller autodistil:space."
            )
        data = TeacherTexts.of(teacher, texts, self.texts, seed)
        net = SuperNet(shared, shapes[-1], data.targets.shape[1], seed)
        if self.start == "teacher":
            net.start_from(data.model)
        self.train(net, shapes, data, seed)
        best = max(fitting, key=lambda shape: held_out_cosine(net, shape, data))
        folder = Path(tempfile.mkdtemp(prefix="leafkit-autodistil-"))
        net.extracted(best).save_pretrained(folder)
        picked = PickedStudent(config=best.config(shared), weights=folder)
        weakref.finalize(picked, shutil.rmtree, folder, ignore_errors=True)
        return picked

    def train(self, net: SuperNet, shapes: Sequence[Shape], data: TeacherTexts, seed: int) -> None:
        """Train the subnets ``shapes``, ordered by size, of ``net`` together for all steps."""
        optimiser = torch.optim.AdamW(net.parameters(), lr=self.rate)
        for step in range(self.steps):
            for group in optimiser.param_groups:
                group["lr"] = self.rate * (1 - step / self.steps)
            features, targets = data.batch(random.Random(f"{seed} {step}"))
            for shape in sandwich(shapes, seed, step):
                self.loss(net, shape, features, targets, data.model).backward()
            optimiser.step()
            optimiser.zero_grad()

    def loss(self, net: SuperNet, shape: Shape, features: dict[str, Tensor], targets: Tensor, teacher: Any) -> Tensor:
        """Return the mean loss of the subnet ``shape`` on texts with the unit vectors ``targets``, (rows, dim)."""
        if not self.relation:
            return (net(features, shape) - targets).norm(dim=-1).mean()
        with last_relations(net.subnet(shape)) as ours:
            distance = (net(features, shape) - targets).norm(dim=-1).mean()
        with torch.no_grad(), last_relations(teacher) as theirs:
            teacher(**features)
        mask = features["attention_mask"]
        terms = [relation_loss(one, other, mask) for one, other in zip(ours, theirs, strict=True)]
        return distance + self.relation * torch.stack(terms).sum()


def subnets(space: str) -> list[Shape]:
    """Return all shapes of the ``space``, ordered by the number of parameters in their layers."""
    shapes = [
        Shape(layers=layers, hidden=hidden, heads=heads, feed_forward=factor)
        for layers, hidden, heads, factor in product(*SPACES[space])
    ]
    return sorted(shapes, key=lambda shape: (layer_parameters(shape), shape))


def layer_parameters(shape: Shape) -> int:
    """Return the number of parameters in the layers of ``shape``: attention, feed-forward part and two norms each."""
    width, factor = shape.hidden, shape.feed_forward
    return shape.layers * ((4 + 2 * factor) * width**2 + (9 + factor) * width)


def sandwich(shapes: Sequence[Shape], seed: int, step: int) -> list[Shape]:
    """Return the four subnets of a ``step``: the first and the last of ``shapes``, and two random others."""
    return [shapes[0], shapes[-1], *random.Random(f"{step} {seed}").sample(shapes[1:-1], 2)]


def shared_config(teacher: Any) -> dict[str, Any]:
    """Return the entries of the config that all subnets have in common, for a sentence-transformers ``teacher``."""
    tokenizer = Body.of(teacher).tokenizer
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id or 0,
        "max_position_embeddings": int(teacher.max_seq_length or 512),
    }


class SuperNet(nn.Module):
    """The network that all subnets are slices of: a BERT of the shape ``largest``, and a bridge to ``dim`` numbers."""

    def __init__(self, shared: dict[str, Any], largest: Shape, dim: int, seed: int) -> None:
        """Draw the weights from ``seed``; torch's own random state does not change."""
        super().__init__()
        self.shared, self._largest = shared, largest
        self.subnet = cache(self._subnet)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = _bert(largest.config(shared))
            self.bridge = nn.Linear(largest.hidden, dim)

    def forward(self, features: dict[str, Tensor], shape: Shape) -> Tensor:
        """Return the unit vectors of the texts by the subnet ``shape``, (rows, dim)."""
        # The buffers, such as the numbers of the positions, are the same for all.
        weights = {**self.slices(shape), **dict(self.body.named_buffers())}
        states = functional_call(self.subnet(shape), weights, kwargs=features).last_hidden_state
        mask = features["attention_mask"][..., None]
        pooled = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return normalize(linear(pooled, self.bridge.weight[:, : shape.hidden], self.bridge.bias), dim=-1)

    def slices(self, shape: Shape) -> dict[str, Tensor]:
        """Return the weights of the subnet ``shape`` by name: views into the weights of the network."""
        own = dict(self.body.named_parameters())
        return {
            name: _prefix(own[_renamed(name, lambda layer: layer * self._largest.layers // shape.layers)], value.shape)
            for name, value in self.subnet(shape).named_parameters()
        }

    def extracted(self, shape: Shape) -> Any:
        """Return the subnet ``shape`` as a BERT of its own, with copies of its weights."""
        model = _bert(shape.config(self.shared))
        model.load_state_dict({name: value.detach().clone() for name, value in self.slices(shape).items()})
        return model

    @torch.no_grad()
    def start_from(self, teacher: nn.Module) -> None:
        """Copy the upper left parts of the weights of ``teacher``, from evenly spaced layers, if it is a BERT."""
        theirs, config = dict(teacher.named_parameters()), cast(Any, teacher).config
        count = self._largest.layers
        kept = evenly_spaced(config.num_hidden_layers, min(count, config.num_hidden_layers))
        for name, value in self.body.named_parameters():
            source = theirs.get(_renamed(name, lambda layer: kept[layer * len(kept) // count]))
            fits = source is not None and all(a >= b for a, b in zip(source.shape, value.shape, strict=True))
            if source is not None and fits:
                value.copy_(_prefix(source, value.shape))

    def _subnet(self, shape: Shape) -> Any:
        """Return the subnet without weights, which `slices` gives to each call of it."""
        with torch.device("meta"):
            return _bert(shape.config(self.shared))


@dataclass(frozen=True, kw_only=True)
class TeacherTexts:
    """Texts with the teacher's unit vectors ``targets``, (texts, dim); the first `HELD_OUT` are not trained on.

    ``model`` is the teacher's transformer in float32, for its weights and relations.
    """

    texts: Sequence[str]
    targets: Tensor
    tokenizer: Any
    model: Any

    @classmethod
    def of(cls, teacher: Any, texts: Sequence[str], most: int, seed: int) -> TeacherTexts:
        """Draw at most ``most`` of ``texts`` and encode them; raise `OptionError` if there are too few."""
        body = Body.of(teacher)
        if len(texts) < HELD_OUT + BATCH:
            raise OptionError(
                f"autodistil got {len(texts)} training texts; expected at least {HELD_OUT + BATCH}. Give it more texts."
            )
        chosen = random.Random(seed).sample(list(texts), min(most, len(texts)))
        vectors = teacher.encode(chosen, normalize_embeddings=True, show_progress_bar=False)
        # A copy, because the teacher itself may compute in another precision.
        model = copy.deepcopy(body.transformer).float().eval()
        return cls(texts=chosen, targets=torch.from_numpy(vectors).float(), tokenizer=body.tokenizer, model=model)

    def batch(self, draw: random.Random) -> tuple[dict[str, Tensor], Tensor]:
        """Return the token ids and the targets of `BATCH` texts that are not held out."""
        return self._rows(draw.sample(range(HELD_OUT, len(self.texts)), BATCH))

    def held_out(self) -> tuple[dict[str, Tensor], Tensor]:
        """Return the token ids and the targets of the held-out texts."""
        return self._rows(range(HELD_OUT))

    def read(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return the token ids of ``texts`` with their mask, (texts, length) each."""
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
        return {name: tokens[name] for name in ("input_ids", "attention_mask")}

    def _rows(self, rows: Sequence[int]) -> tuple[dict[str, Tensor], Tensor]:
        return self.read([self.texts[row] for row in rows]), self.targets[list(rows)]


@torch.no_grad()
def held_out_cosine(net: SuperNet, shape: Shape, data: TeacherTexts) -> float:
    """Return the mean cosine of the subnet ``shape``, with the weights that it shares, on the held-out texts."""
    features, targets = data.held_out()
    return float((net(features, shape) * targets).sum(dim=-1).mean())


@contextmanager
def last_relations(model: Any) -> Iterator[list[Tensor]]:
    """Note the queries, keys and values of the last layer of a BERT, (rows, length, width) each, inside the block."""
    attention = model.encoder.layer[-1].attention.self
    found: list[Tensor] = []
    hooks = [
        getattr(attention, name).register_forward_hook(lambda _module, _inputs, output: found.append(output))
        for name in ("query", "key", "value")
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared difference of the relations of two sets of vectors, (rows, length, any width).

    Padding, where ``mask`` (rows, length) is 0, does not count.
    """
    ours, theirs = (relations(vectors.float()) for vectors in (student, teacher))
    pairs = (mask[:, None, :, None] * mask[:, None, None, :]).expand_as(ours)
    return ((ours - theirs).square() * pairs).sum() / pairs.sum()


def relations(vectors: Tensor) -> Tensor:
    """Return X X' / sqrt(d) for each of 12 parts X of ``vectors`` (rows, length, width), (rows, 12, length, length).

    Columns that do not fill a part are left out.
    """
    width = vectors.shape[-1] // RELATIONS
    parts = vectors[..., : width * RELATIONS].unflatten(-1, (RELATIONS, width)).transpose(1, 2)
    return parts @ parts.mT / width**0.5


def _prefix(value: Tensor, shape: Sequence[int]) -> Tensor:
    return value[tuple(slice(size) for size in shape)]


def _renamed(name: str, layer_of: Any) -> str:
    """Return the ``name`` of a weight with the number of its layer, if any, replaced by ``layer_of(number)``."""
    parts = name.split(".")
    if parts[:2] == ["encoder", "layer"]:
        parts[2] = str(layer_of(int(parts[2])))
    return ".".join(parts)


def _bert(config: dict[str, Any]) -> Any:
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**config), add_pooling_layer=False).eval()
