"""A training as methods see it, small enough to work by hand: unit vectors, two domains, four classes."""

from types import SimpleNamespace

import numpy
import pytest
import torch

from leafkit.methods.batch import Batch, Outputs, TokenStates, View
from leafkit.methods.setting import Setting

TEXTS, DIM, WIDTH, DEPTH = 120, 8, 6, 3


def unit(rows, dim, seed):
    draw = numpy.random.default_rng(seed).standard_normal((rows, dim)).astype(numpy.float32)
    return draw / numpy.linalg.norm(draw, axis=1, keepdims=True)


def token_ids(rows):
    """The padded token ids of the texts ``rows`` (CLS 2, SEP 3, padding 0), the same for a row in every batch."""
    lengths = 3 + rows % 5
    ids = numpy.zeros((len(rows), 7), dtype=numpy.int64)
    for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        ids[place, :length] = [2, *range(10 + row, 10 + row + length - 2), 3]
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy((ids > 0).astype(numpy.int64))}


def layer_tokens(rows, dtype):
    """The student's token states of the texts ``rows`` after each layer; those of a row are the same in every batch."""
    draws = [[torch.Generator().manual_seed(3000 + 200 * layer + int(row)) for row in rows] for layer in range(DEPTH)]
    states = [torch.stack([torch.randn(7, WIDTH, generator=draw) for draw in of_layer]) for of_layer in draws]
    return tuple(each.to(dtype).requires_grad_() for each in states)


def token_states(rows, dtype):
    """The token states of the texts ``rows``; those of a row are the same in every batch."""
    student, teacher = (
        torch.stack([torch.randn(7, width, generator=torch.Generator().manual_seed(seed + int(row))) for row in rows])
        for seed, width in ((1000, WIDTH), (2000, DIM))
    )
    mask = token_ids(rows)["input_ids"] > 9
    return TokenStates(student=student.to(dtype).requires_grad_(), teacher=teacher.to(dtype), mask=mask)


class ToyTeacher:
    """A live teacher of four layers: each adds a mix of the token's own state and the mean of the text."""

    depth = 4

    def __init__(self, dim=DIM):
        draw = torch.Generator().manual_seed(5)
        self.table = torch.randn(300, dim, generator=draw)
        self.weights = [torch.randn(dim, dim, generator=draw) / dim**0.5 for _ in range(self.depth)]

    def vectors(self, features):
        return self.onward(self.table[features["input_ids"] % 300], features, 0).detach()

    def states(self, features, layer):
        return self.between(self.table[features["input_ids"] % 300], features, 0, layer).detach()

    def onward(self, states, features, layer):
        last = self.between(states, features, layer, self.depth)
        return torch.nn.functional.normalize(mean_of(last, features), dim=-1)

    def between(self, states, features, first, stop):
        for weight in self.weights[first:stop]:
            states = states + torch.tanh((states + mean_of(states, features)[:, None]) @ weight)
        return states


def mean_of(states, features):
    mask = features["attention_mask"][..., None].to(states.dtype)
    return (states * mask).sum(dim=1) / mask.sum(dim=1)


class Peer(torch.nn.Module):
    """A peer student: a table of 300 tokens and a head, in the place of a transformer."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(300, WIDTH)
        self.head = torch.nn.Linear(WIDTH, DIM)

    def forward(self, features):
        hidden = self.table(features["input_ids"] % 300).mean(dim=1)
        raw = self.head(hidden)
        return Outputs(student=torch.nn.functional.normalize(raw, dim=-1), raw=raw, hidden=hidden)


@pytest.fixture
def make_setting(make_batch):
    """Make a `Setting` of 120 texts; any field can be given."""
    return settings(make_batch)


def settings(make_batch):
    """Return a function that makes a `Setting`, whose ``batch`` is made by ``make_batch``."""

    def make(**fields):
        teacher, student, other = unit(TEXTS, DIM, 0), unit(TEXTS, DIM, 1), unit(TEXTS, 5, 2)
        rows = numpy.arange(TEXTS)
        facts = {
            "dim": DIM,
            "width": WIDTH,
            "depth": DEPTH,
            "steps": 100,
            "epoch_steps": 15,
            "validations": 11,
            "batch_size": 8,
            "seed": 0,
            "roles": rows % 2,
            "labels": rows % 4,
            "domains": (rows >= 90).astype(numpy.int64),
            # Every third query has the next document as its answer.
            "pairs": numpy.stack([rows[rows % 6 == 0], rows[rows % 6 == 1]], axis=1),
            "lengths": 3 + rows % 5,
            "reserved": rows[:0],
            "targets": lambda rows: teacher[rows],
            "student": lambda rows: student[rows],
            "hidden": lambda rows: unit(TEXTS, WIDTH, 3)[rows],
            "texts_of": lambda rows: [f"text number {row}" for row in rows],
            "batch": lambda rows: make_batch(rows),
            "ask": None,
            "live": ToyTeacher(),
            "open": lambda spec: Peer(),
            "other_teacher": lambda name: lambda rows: other[rows],
        }
        return Setting(**facts | fields)

    return make


@pytest.fixture
def make_batch():
    """Make the `Batch` of some training rows, with a student that takes gradients; any field can be given."""

    def make(rows=range(8), *, setting=None, dtype=torch.float32, **fields):
        setting = setting or settings(make)()
        rows = numpy.asarray(list(rows))
        draw = torch.Generator().manual_seed(int(rows.sum()) + 7)
        raw = (1.5 * torch.randn(len(rows), setting.dim, generator=draw)).to(dtype).requires_grad_()
        hidden = torch.randn(len(rows), setting.width, generator=draw).to(dtype).requires_grad_()
        layers = [torch.randn(len(rows), setting.width, generator=draw).to(dtype) for _ in range(setting.depth)]
        facts = {
            "student": torch.nn.functional.normalize(raw, dim=-1),
            "raw": raw,
            "hidden": hidden,
            "layers": tuple(layer.requires_grad_() for layer in layers),
            "states": layer_tokens(rows, dtype),
            "tokens": token_states(rows, dtype),
            "features": token_ids(rows),
            "teacher": torch.from_numpy(setting.targets(rows)).to(dtype),
            "roles": torch.from_numpy(setting.roles[rows]),
            "rows": torch.from_numpy(rows),
            "labels": torch.from_numpy(setting.labels[rows]),
            "domains": torch.from_numpy(setting.domains[rows]),
            "origin": torch.arange(len(rows)),
        }
        return Batch(**facts | fields)

    return make


@pytest.fixture
def make_look():
    """Make a `Look` at held-out texts from the vectors of student and teacher; any field can be given."""

    def make(student, teacher, history=(), **fields):
        facts = {
            "student": student,
            "teacher": teacher,
            "history": history,
            "texts": [f"text number {row}" for row in range(len(student))],
            "labels": numpy.arange(len(student)) % 4,
            "methods": ["leaf"],
            "step": len(history),
            "steps": 100,
            "rates": numpy.ones(100),
            "validations": 11,
        }
        return SimpleNamespace(**facts | fields)

    return make


@pytest.fixture
def make_view(make_setting):
    """Make the `View` of some training rows, as padded token ids (CLS 2, SEP 3, padding 0)."""

    def make(rows=range(8), *, setting=None, step=0, **fields):
        setting = setting or make_setting()
        rows = numpy.asarray(list(rows))
        facts = {
            "features": token_ids(rows),
            "origin": torch.arange(len(rows)),
            "teacher": torch.from_numpy(setting.targets(rows)),
            "roles": torch.from_numpy(setting.roles[rows]),
            "rows": torch.from_numpy(rows),
            "labels": torch.from_numpy(setting.labels[rows]),
            "domains": torch.from_numpy(setting.domains[rows]),
            "step": step,
            "seed": 0,
        }
        return View(**facts | fields)

    return make
