"""Return of the Encoder in small: bidirectional, causal and two-tower students with as many layers, and their times."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from eval.mechanism.figures import cosine, ndcg
from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts
from leafkit.methods.architectures.diswot import Cost, Shape
from leafkit.methods.architectures.encoder_return import EncoderReturn, Pooled
from leafkit.methods.budget import Budget
from leafkit.students.head import fit_head, set_linear
from leafkit.teachers.open import open_teacher
from leafkit.types import Float32, Int64

CLAIM = "A student that reads in both directions learns more than a causal one of as many parameters and steps."
PREMISE = "Three layers of width 64 from random weights; 2,600 queries and the answers to 400 others, 100 steps."
CONTROL = "The same student with a causal mask; for the record, also with the state of the last token as its vector."
FIGURE = (
    "mean cosine on 400 held-out queries; arms with nDCG search the teacher's documents, or those that are named; arms "
    "with ms give the milliseconds of a query of 16 tokens on one core, less is better"
)
ARMS = (
    "bidirectional",
    "causal",
    "causal, last token",
    "nDCG, bidirectional",
    "nDCG, causal",
    "nDCG, causal, last token",
    "nDCG, query tower",
    "nDCG, bidirectional, its own documents",
    "nDCG, query tower, documents of the document tower",
    "ms, bidirectional",
    "ms, causal",
    "ms, query tower",
    "ms, document tower",
)
WIDTH, LAYERS = 64, 3
STEPS, BATCH, TOKENS, RATE, HELD_OUT = 100, 16, 24, 1e-3, 400
# Texts that heads start from, and timings of each student.
STARTING, TURNS = 1000, 3


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return cosine, nDCG and milliseconds of the students."""
    texts = lab.all_texts("squad")
    order = numpy.random.default_rng([seed, 59]).permutation(numpy.flatnonzero(texts.roles == 0))
    answers = numpy.isin(texts.pairs[:, 0], order[:HELD_OUT])
    documents = numpy.unique(texts.pairs[answers, 1])
    held_out, queries = texts.choose(order[:HELD_OUT]), texts.choose(order[HELD_OUT:])
    corpus = texts.choose(documents)
    everything = texts.choose(numpy.concatenate([order[HELD_OUT:], documents]))
    pairs = texts.choose(numpy.concatenate([order[:HELD_OUT], documents])).pairs - [0, HELD_OUT]
    words = Words.of(lab)
    both, causal = EncoderReturn(width=WIDTH), EncoderReturn(width=WIDTH, attention="causal")
    query, document = (EncoderReturn(width=WIDTH, tower=tower) for tower in ("query", "document"))
    students = {
        "bidirectional": words.trained(both, everything, seed),
        "causal": words.trained(causal, everything, seed),
        "causal, last token": words.trained(replace(causal, pooling="lasttoken"), everything, seed),
        "query tower": words.trained(query, queries, seed),
    }
    found = {name: student.encode(held_out) for name, student in students.items()}
    figures = {name: cosine(vectors, held_out.vectors) for name, vectors in found.items()}
    figures |= {f"nDCG, {name}": ndcg(vectors, corpus.vectors, pairs) for name, vectors in found.items()}
    own = students["bidirectional"].encode(corpus)
    towers = words.trained(document, corpus, seed).encode(corpus)
    figures["nDCG, bidirectional, its own documents"] = ndcg(found["bidirectional"], own, pairs)
    figures["nDCG, query tower, documents of the document tower"] = ndcg(found["query tower"], towers, pairs)
    kinds = {"bidirectional": both, "causal": causal, "query tower": query, "document tower": document}
    # In turn and the least of them, because the load of the machine changes while they are measured.
    times = [{f"ms, {name}": words.milliseconds(kind) for name, kind in kinds.items()} for _ in range(TURNS)]
    return figures | {name: min(turn[name] for turn in times) for name in times[0]}


@dataclass(frozen=True, kw_only=True)
class Words:
    """What all students share: the teacher's ``model``, and a frozen ``table`` of its tokens, (tokens, `WIDTH`)."""

    model: Any
    table: Tensor

    # As many parameters as the layers of the bidirectional student have.
    budget: ClassVar[Budget] = Budget(parameters=LAYERS * (12 * WIDTH**2 + 13 * WIDTH))

    @classmethod
    def of(cls, lab: Lab) -> Words:
        """Return the principal components of the token embeddings of the lab's teacher."""
        teacher: Any = open_teacher(lab.teacher)
        embeddings = teacher.model[0].auto_model.get_input_embeddings().weight.detach().float()
        centred = embeddings - embeddings.mean(dim=0)
        axes = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -WIDTH:]
        table = centred @ axes
        return cls(model=teacher.model, table=0.02 * table / table.std())

    def shape(self, kind: EncoderReturn) -> Shape:
        """Return the shape of ``kind`` within the budget that all share."""
        return kind.shape(kind.shared(self.model), self.budget)

    def milliseconds(self, kind: EncoderReturn) -> float:
        """Return the milliseconds of a query by the student of ``kind`` on one core."""
        return Cost(kind.shared(self.model), self.budget).milliseconds(self.shape(kind))

    def trained(self, kind: EncoderReturn, texts: LabTexts, seed: int) -> Small:
        """Return the student of ``kind`` after `STEPS` steps of LEAF on ``texts``."""
        torch.manual_seed(seed)
        config = self.shape(kind).config(kind.shared(self.model))
        student = Small(config, self.model.tokenizer, texts.vectors.shape[1], kind.pooling, self.table)
        # The last token of a random student says so little that its ridge head is nearly 0 and learns nothing.
        if kind.pooling == "mean":
            student.start_head(texts)
        optimiser = torch.optim.AdamW([one for one in student.parameters() if one.requires_grad], lr=RATE)
        draw = random.Random(seed)
        for step in range(STEPS):
            for group in optimiser.param_groups:
                group["lr"] = RATE * (1 - step / STEPS)
            rows = numpy.array(draw.sample(range(len(texts)), BATCH))
            loss = (student(texts, rows) - torch.from_numpy(texts.vectors[rows])).norm(dim=-1).mean()
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
        return student


class Small(nn.Module):
    """A BERT of ``config`` on the frozen ``table``, with a pooling and a head of ``dim``."""

    def __init__(self, config: dict[str, Any], tokenizer: Any, dim: int, pooling: Pooled, table: Tensor) -> None:
        """Draw the layers and the head from torch's random state."""
        from sentence_transformers.sentence_transformer.modules import Pooling
        from transformers import BertConfig, BertModel

        super().__init__()
        without_dropout: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        self.body = BertModel(BertConfig(**config | without_dropout), add_pooling_layer=False)
        self.body.embeddings.requires_grad_(False)
        self.body.embeddings.word_embeddings.weight.copy_(table)
        self.pooling = Pooling(config["hidden_size"], pooling)
        self.head = nn.Linear(config["hidden_size"], dim)
        self._tokenizer = tokenizer

    @torch.no_grad()
    def start_head(self, texts: LabTexts) -> None:
        """Start the head in the ridge solution for ``texts``."""
        rows = numpy.random.default_rng(0).permutation(len(texts))[:STARTING]
        some = texts.choose(rows)
        states = torch.cat([self.hidden(some, part) for part in _parts(some)]).numpy()
        set_linear(self.head, fit_head(states, some.vectors))

    def forward(self, texts: LabTexts, rows: Sequence[int] | Int64) -> Tensor:
        """Return the unit vectors of the ``rows`` of ``texts``, (rows, dim)."""
        return normalize(self.head(self.hidden(texts, rows)), dim=-1)

    def hidden(self, texts: LabTexts, rows: Sequence[int] | Int64) -> Tensor:
        """Return the pooled states of the ``rows`` of ``texts``, (rows, `WIDTH`)."""
        chosen = [texts.texts[row] for row in rows]
        tokens = self._tokenizer(chosen, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
        features = {name: tokens[name] for name in ("input_ids", "attention_mask")}
        states = self.body(**features).last_hidden_state
        pooled = self.pooling({"token_embeddings": states, "attention_mask": features["attention_mask"]})
        return pooled["sentence_embedding"]

    @torch.inference_mode()
    def encode(self, texts: LabTexts) -> Float32:
        """Return the unit vectors of all ``texts``, (texts, dim)."""
        return numpy.concatenate([self(texts, part).numpy() for part in _parts(texts)])


def _parts(texts: LabTexts) -> list[Int64]:
    """Return all rows of ``texts`` in parts of about 64."""
    return numpy.array_split(numpy.arange(len(texts)), max(1, len(texts) // 64))
