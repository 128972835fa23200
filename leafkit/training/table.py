r"""The closed-form start of a student that is a table of token vectors.

Such a student is linear in its table before the normalisation, so that the best table, as the best head, can be
solved for. With :math:`m_i` the shares of the tokens in text i (they sum to one), :math:`t_i` the teacher's vector
and :math:`X_0` the teacher's vectors of single tokens through the ridge head, it is the minimum of

.. math:: \sum_i \lVert m_i X - t_i \rVert^2 + \lambda \lVert X - X_0 \rVert^2,

ridge regression with a row for every token. Tokens that no text has keep :math:`X_0`. Its matrix is as large as the
vocabulary squared, but hardly filled: conjugate gradients with the diagonal as preconditioner are near enough after
ten steps (:math:`\lambda = 0.03`, 200,000 texts: held-out cosine 0.9014 after 6 steps, 0.9016 after 12).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, embedding_bag

from leafkit.files.progress import progress
from leafkit.students.head import Linear, set_head
from leafkit.training.forward import StudentForward
from leafkit.training.tokens import TokenFile
from leafkit.types import Float32, Int64
from leafkit.vectors.rotation import principal_directions

MOST_NUMBERS = 2**28  # of target vectors: a gigabyte, 700,000 texts of a teacher of 384 numbers
MOST_HELD_OUT = 4_000
# A token that fills so many texts alone counts as much as its start does. From the largest down, while it helps.
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
TRIAL_STEPS, STEPS = 6, 12
COLUMNS = 128  # solved for at once: bounds the memory that large vocabularies take
_CHUNK = 1024


def most_texts(dim: int) -> int:
    """How many texts `fit_table` should be given for a teacher of ``dim`` numbers."""
    return MOST_NUMBERS // dim


def fit_table(forward: StudentForward, tokens: TokenFile, rows: Int64, targets: Float32, *, seed: int = 0) -> float:
    """Set table and head of the student to the solution for the texts ``rows``, (rows, dim) ``targets``.

    The student's head must be a good one already, since the search starts there. Returns the penalty: the one with
    the highest cosine on a held-out tenth. A table narrower than the teacher's vectors keeps the directions in which
    the solution's vectors of the texts vary most.
    """
    student, head = forward.model, forward.model[forward.head].linear
    table: Tensor = student[0].embedding.weight.data
    bias = head.bias is not None
    with torch.inference_mode():
        prior = table @ head.weight.T + (head.bias if bias else 0.0)
        order = numpy.random.default_rng(seed).permutation(len(rows))
        held_out, kept = numpy.split(order, [min(len(rows) // 10, MOST_HELD_OUT)])
        with progress("token table", total=TRIAL_STEPS * len(PENALTIES) + STEPS, unit="steps") as bar:
            penalty = PENALTIES[0]
            if len(held_out):
                unseen = _Texts(tokens, rows[held_out], targets[held_out], prior)
                penalty = _best_penalty(_Texts(tokens, rows[kept], targets[kept], prior), unseen, prior, bar.update)
            bar.update(TRIAL_STEPS * len(PENALTIES) - bar.n)  # those that were not needed
            texts = _Texts(tokens, rows, targets, prior)
            solved = _descend(texts, prior, prior, penalty, STEPS, bar.update)
        _set(student, solved, texts.mean(solved), bias=bias)
    return penalty


def _best_penalty(texts: _Texts, unseen: _Texts, prior: Tensor, done: Callable[[int], Any]) -> float:
    best, best_cosine = PENALTIES[0], -1.0
    table = prior
    for penalty in PENALTIES:
        table = _descend(texts, table, prior, penalty, TRIAL_STEPS, done)
        cosine = float(cosine_similarity(unseen.mean(table), unseen.targets).mean())
        if cosine <= best_cosine:
            break
        best, best_cosine = penalty, cosine
    return best


class _Texts:
    """The shares of tokens in texts as a sparse matrix, (texts, tokens), with the vectors that they should give."""

    def __init__(self, tokens: TokenFile, rows: Int64, targets: Float32, table: Tensor) -> None:
        device = table.device
        parts = [tokens.features(rows[start : start + _CHUNK])["input_ids"] for start in range(0, len(rows), _CHUNK)]
        lengths = torch.from_numpy(tokens.lengths[rows])
        self.targets = torch.from_numpy(targets).to(device)
        self._ids = torch.cat(parts).to(device)
        self._starts = (lengths.cumsum(0) - lengths).to(device)
        text = torch.repeat_interleave(torch.arange(len(rows)), lengths).to(device)
        share = 1.0 / lengths.to(device, torch.float32)[text]
        # The transpose: the texts of each token.
        by_token = torch.argsort(self._ids, stable=True)
        counts = torch.bincount(self._ids, minlength=len(table))
        self._texts, self._shares = text[by_token], share[by_token]
        self._token_starts = counts.cumsum(0) - counts
        self.diagonal = torch.bincount(self._ids, share**2, minlength=len(table)).float()

    def mean(self, table: Tensor) -> Tensor:
        """The mean of each text's rows of ``table``, (texts, columns); zeros for a text without tokens."""
        return embedding_bag(self._ids, table, self._starts, mode="mean")

    def spread(self, vectors: Tensor) -> Tensor:
        """The transpose of `mean`: (tokens, columns) from (texts, columns)."""
        return embedding_bag(self._texts, vectors, self._token_starts, mode="sum", per_sample_weights=self._shares)


def _descend(
    texts: _Texts, table: Tensor, prior: Tensor, penalty: float, steps: int, done: Callable[[int], Any]
) -> Tensor:
    """``table`` after so many steps of conjugate gradients, each column by itself."""
    columns = range(0, table.shape[1], COLUMNS)
    scale = 1.0 / (texts.diagonal + penalty)[:, None]
    solved = table.clone()
    for start in columns:
        part = slice(start, start + COLUMNS)
        x, x0 = table[:, part].contiguous(), prior[:, part]
        residual = texts.spread(texts.targets[:, part] - texts.mean(x)) - penalty * (x - x0)
        direction = scale * residual
        norm = (residual * direction).sum(dim=0)
        for _ in range(steps):
            change = texts.spread(texts.mean(direction)) + penalty * direction
            rate = norm / (direction * change).sum(dim=0).clamp(min=torch.finfo(norm.dtype).tiny)
            x += rate * direction
            residual -= rate * change
            scaled = scale * residual
            before, norm = norm, (residual * scaled).sum(dim=0)
            direction = scaled + norm / before.clamp(min=torch.finfo(norm.dtype).tiny) * direction
            done(1 if start == columns[-1] else 0)
        solved[:, part] = x
    return solved


def _set(student: Any, solved: Tensor, vectors: Tensor, *, bias: bool) -> None:
    """Split ``solved`` into table and head, exactly where the table is as wide as the teacher's vectors."""
    centre = vectors.mean(dim=0) if bias else torch.zeros_like(solved[0])
    table = student[0].embedding.weight
    # Their signs, which centred vectors leave to rounding, cancel between table and head.
    directions = principal_directions((vectors - centre).cpu().numpy())[: table.shape[1]]
    weight = directions.T.astype(numpy.float32)
    table.copy_((solved - centre) @ torch.from_numpy(weight).to(solved.device))
    set_head(student, Linear(weight=weight, bias=centre.cpu().numpy(), penalty=float("nan")))
