"""`Student`: the model that learns, with a name for each of its parts.

A student is a sentence-transformers model in three parts: a *body* that turns token ids into one vector a text, a
linear *head* that maps this vector into the teacher's space, and a *tail* that is `Normalize` or nothing. This is the
only file that recognises the module classes of sentence-transformers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, cast

import numpy
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    LayerNorm,
    Normalize,
    Pooling,
    StaticEmbedding,
    Transformer,
    WeightedLayerPooling,
)
from torch import Tensor, nn

from leafkit.prompts import Prompts
from leafkit.types import ROLES, Int64

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Kind = Literal["transformer", "table"]
# Modules that a student may hold. Any other needs trust_remote_code or input that is not text.
STOCK = (Transformer, StaticEmbedding, Pooling, Dense, LayerNorm, Normalize, WeightedLayerPooling)


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


@dataclass(frozen=True, eq=False)
class Body:
    """The ``modules`` before a student's head: token ids in, one vector a text out."""

    modules: tuple[nn.Module, ...]

    @classmethod
    def of(cls, model: Iterable[nn.Module]) -> Body:
        """Take the modules of ``model`` without its final linear maps and normalisations.

        A linear map before a linear head adds nothing, because the head alone can represent both.
        """
        modules = list(model)
        while modules and _is_absorbed_by_a_head(modules[-1]):
            modules.pop()
        return cls(tuple(modules))

    @property
    def kind(self) -> Kind:
        """Whether the body is a transformer or a table of token vectors."""
        return "transformer" if isinstance(self.modules[0], Transformer) else "table"

    @property
    def first(self) -> Any:
        """The module that reads token ids: a `Transformer` or a `StaticEmbedding`."""
        return self.modules[0]

    @property
    def transformer(self) -> PreTrainedModel:
        """The Hugging Face model inside the body; raises `TypeError` for a token table."""
        if self.kind != "transformer":
            raise TypeError("a token table has no transformer")
        return self.first.model

    @property
    def tokenizer(self) -> Any:
        """The tokenizer: of the library transformers for a transformer, of tokenizers for a token table."""
        return self.first.tokenizer

    @property
    def depth(self) -> int:
        """The number of transformer layers; 0 for a token table."""
        return self.transformer.config.num_hidden_layers if self.kind == "transformer" else 0

    @property
    def width(self) -> int:
        """The number of components of the vector that the body gives for a text."""
        for module in reversed(self.modules):
            width = getattr(module, "get_embedding_dimension", lambda: None)()
            if width is not None:
                return int(width)
        raise ValueError("none of the modules knows its output dimension")

    @property
    def unknown_modules(self) -> list[str]:
        """The class names of all modules that a student cannot hold."""
        return [type(module).__name__ for module in self.modules if type(module) not in STOCK]

    def with_pooling(self, mode: Literal["mean", "cls"]) -> Body | None:
        """Return the same body with its last pooling replaced by ``mode``; None if the body has no pooling.

        Raises `ValueError` if later modules read the joined output of several pooling modes.
        """
        places = [place for place, module in enumerate(self.modules) if isinstance(module, Pooling)]
        if not places:
            return None
        before, pooling, after = _split(self.modules, places[-1])
        pooling = cast(Pooling, pooling)
        width = pooling.embedding_dimension
        if pooling.pooling_output_dimension != width and after:
            raise ValueError("later modules read the joined output of several pooling modes")
        return Body((*before, Pooling(width, mode), *after))

    def longest_input(self) -> int:
        """Return the number of tokens that the transformer has positions for."""
        return longest_input(self.transformer, self.tokenizer)


@dataclass(frozen=True, eq=False)
class Student:
    """A sentence-transformers ``model`` whose last `Dense` is the head into the teacher's space."""

    model: SentenceTransformer

    @classmethod
    def from_parts(cls, body: Body, dim: int, *, bias: bool, normalised: bool, prompts: Prompts) -> Student:
        """Assemble a student on the CPU with a head of random weights.

        The head maps ``body.width`` to ``dim`` components; ``normalised`` adds a final `Normalize`.
        """
        # Dense applies Tanh unless told otherwise, and then no student could match its teacher.
        head = Dense(body.width, dim, bias=bias, activation_function=nn.Identity())
        modules = [*body.modules, head, *([Normalize()] if normalised else [])]
        return cls(SentenceTransformer(modules=modules, device="cpu", prompts={**prompts}, similarity_fn_name="cosine"))

    @property
    def body(self) -> Body:
        """All modules before the head."""
        return Body(tuple(self._parts()[0]))

    @property
    def head(self) -> Dense:
        """The linear map into the teacher's space: the last `Dense` of the model."""
        return self._parts()[1]

    @property
    def linear(self) -> nn.Linear:
        """The weight, (dim, width), and bias, (dim,) or None, of the head."""
        return self.head.linear

    @property
    def tail(self) -> list[nn.Module]:
        """What follows the head: one `Normalize`, or nothing if the teacher's vectors are not unit-norm."""
        return self._parts()[2]

    @property
    def kind(self) -> Kind:
        """Whether the student is a transformer or a table of token vectors."""
        return self.body.kind

    @property
    def transformer(self) -> PreTrainedModel:
        """The Hugging Face model of the student; raises `TypeError` for a token table."""
        return self.body.transformer

    @property
    def tokenizer(self) -> Any:
        """The tokenizer: of the library transformers for a transformer, of tokenizers for a token table."""
        return self.body.tokenizer

    @property
    def depth(self) -> int:
        """The number of transformer layers; 0 for a token table."""
        return self.body.depth

    @property
    def token_table(self) -> nn.Embedding | nn.EmbeddingBag | None:
        """The table that token ids index; None if the student looks tokens up in another way."""
        table = self.transformer.get_input_embeddings() if self.kind == "transformer" else self.body.first.embedding
        return table if isinstance(table, nn.Embedding | nn.EmbeddingBag) else None

    @property
    def table_weight(self) -> nn.Parameter:
        """The weight of the token table, (tokens, width); raises `TypeError` if there is no such table."""
        if self.token_table is None:
            raise TypeError("this student has no token table")
        return cast(nn.Parameter, self.token_table.weight)

    @property
    def layout(self) -> Layout:
        """How the student expects a batch of token ids: padded, or end to end for a token table."""
        if self.kind == "table":
            return Layout(padded=False)
        return Layout(
            padded=True,
            pad_id=self.tokenizer.pad_token_id or 0,
            left=self.tokenizer.padding_side == "left",
            token_types="token_type_ids" in self.preprocess(["a"]),
        )

    @property
    def token_limit(self) -> int | None:
        """The number of tokens after which a text is truncated; None if it never is.

        A token table follows the limit of its tokenizer.
        """
        if self.kind == "table":
            return (self.tokenizer.truncation or {}).get("max_length")
        return self.model.max_seq_length

    @contextlib.contextmanager
    def truncating_at(self, length: int | None) -> Iterator[None]:
        """Truncate texts at ``length`` tokens inside the block, if that is below the student's own limit.

        None keeps the limit. A token table ignores ``length``.
        """
        if length is None or self.kind == "table":
            yield
            return
        before = self.model.max_seq_length
        self.model.max_seq_length = min(before or length, length)
        try:
            yield
        finally:
            self.model.max_seq_length = cast(int, before)  # the setter takes None, its annotation does not

    def preprocess(self, texts: Sequence[str]) -> dict[str, Any]:
        """Tokenise ``texts``, prompts included, into the features that the body takes."""
        return self.body.first.preprocess(list(texts))

    def prompt(self, role: str) -> str:
        """The prompt that the model puts before every text of ``role``; empty if there is none."""
        return self.model.prompts.get(role) or ""

    @property
    def prompts(self) -> Prompts:
        """The prompt of each role."""
        return {role: self.prompt(role) for role in ROLES}

    def to(self, device: str) -> Student:
        """Move the student to ``device`` in place and return it."""
        self.model.to(device)
        return self

    def _parts(self) -> tuple[list[nn.Module], Dense, list[nn.Module]]:
        modules: list[nn.Module] = list(self.model)
        places = [place for place, module in enumerate(modules) if isinstance(module, Dense)]
        if not places:
            raise TypeError("this model has no Dense module, so it is not a student")
        before, head, after = _split(modules, places[-1])
        return before, cast(Dense, head), after


def is_normalize(module: nn.Module) -> TypeGuard[Normalize]:
    """Tell whether ``module`` scales vectors to length 1."""
    return isinstance(module, Normalize)


def pooling_modes(module: nn.Module) -> set[str]:
    """Return the modes of a `Pooling`; empty for another module."""
    if not isinstance(module, Pooling):
        return set()
    mode = module.pooling_mode
    return {mode} if isinstance(mode, str) else set(cast(Iterable[str], mode))


def transformer_of(model: Iterable[nn.Module]) -> PreTrainedModel | None:
    """Return the Hugging Face model inside a sentence-transformers ``model``; None if the first module holds none."""
    first = next(iter(model), None)
    return first.model if isinstance(first, Transformer) else None


def longest_input(model: PreTrainedModel, tokenizer: Any) -> int:
    """Return the number of tokens that ``model`` has positions for.

    Where positions are relative, the limit of the ``tokenizer`` counts.
    """
    tables = (module for name, module in model.named_modules() if name.endswith("position_embeddings"))
    table = next(tables, None)
    size: Any = getattr(table, "num_embeddings", None)
    if size is None:
        size = getattr(model.config, "max_position_embeddings", None)
    if size is None or size < 0:
        return int(tokenizer.model_max_length)
    padding: Any = getattr(table, "padding_idx", None)
    # RoBERTa counts positions from the one after its padding index.
    return int(size if padding is None else size - padding - 1)


def _is_absorbed_by_a_head(module: nn.Module) -> bool:
    if isinstance(module, Dense):
        return isinstance(module.activation_function, nn.Identity) and not module.use_residual
    return isinstance(module, Normalize)


def _split(modules: Sequence[nn.Module], place: int) -> tuple[list[nn.Module], nn.Module, list[nn.Module]]:
    return list(modules[:place]), modules[place], list(modules[place + 1 :])
