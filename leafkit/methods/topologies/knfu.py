"""KnFu: clients with private texts learn from the vectors that the most similar other clients give to public texts.

Paper: https://arxiv.org/abs/2403.11892

    first, client j learns the teacher's vectors of its private texts
    published: its vectors y_j(u) of public texts u, and pi_j(u), the likelihood of u among its private texts (sum 1)
    d_jk = sum_u pi_j(u) |y_j(u) - y_k(u)|^2;    a_jk = softmax_k(-d_jk / (tau mean d)) over j and its neighbours k
    then, client j learns its private texts again, and the fused Y_j(u) = sum_k a_jk y_k(u) of relevant public texts
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError
from leafkit.methods.anchors import fit_anchors
from leafkit.methods.method import Topology, Training
from leafkit.methods.setting import Facts, Setting
from leafkit.types import Float32, Int64
from leafkit.vectors.cosine import are_unit, unit_rows

Fusion = Literal["neighbours", "all", "uniform", "own"]
Float64 = NDArray[numpy.float64]

LEAST = 8
"""The fewest private texts of a client."""

CLUSTERS = 8
"""The groups that texts from a single source are divided into before clients get them."""


@dataclass(frozen=True, kw_only=True)
class Knfu(Topology):
    """Train several clients that share no text, and let each learn from the outputs of those that are most like it.

    The run divides its texts into public ones and the private ones of each client, and trains all clients on this
    machine. Only vectors of public texts and their relevance leave a client. The relevance tells others which public
    texts resemble the private ones. The teacher's vectors of public texts are not used. The result is the student of
    one client. A common start that is fitted to all texts, such as the ridge head, knows more than a client may know;
    use a random head where that matters.

    ``rounds``: number of exchanges after every client has trained alone; 0 disables the method (ours 1).
    ``clients``: number of clients (paper: more; ours 3, because each is trained). ``client``: the client whose student
    is the result, from 0.
    ``public``: share of the texts that is public (ours 0.25).
    ``skew``: concentration of the Dirichlet distribution by which each source of texts is divided among the clients;
    0 gives every source to one client (ours 1). Texts of one source are divided by clusters instead.
    ``fusion``: ``neighbours`` fuses the nearer half of the other clients with the client's own outputs, ``all`` fuses
    all clients. The controls are ``uniform``, the mean of all clients, and ``own``, the client's own outputs alone.
    ``tau``: temperature of the fusion, relative to the mean distance of the clients (ours 1).
    ``relevant``: share of the public texts that a client learns from, the most relevant to it (ours 0.5).
    ``centres``: number of clusters of private texts by which a client judges the relevance (ours 16).
    ``peer``: the student of every second other client, such as ``teacher:layers=1``; empty for equal students.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2403.11892"
    elicits: ClassVar[tuple[str, ...]] = ("labeling",)
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    off: ClassVar[Mapping[str, Any]] = {"rounds": 0}
    small: ClassVar[Mapping[str, Any]] = {"clients": 2, "centres": 4}
    reconstruction: ClassVar[str] = (
        "all formulas are reconstructed: the abstract confirms that clients with unlike models judge how useful the "
        "knowledge of each other client is to them, and that semantic neighbours alone are fused for each client; "
        "vectors in the teacher's space replace class scores; the relevance weighs the distances of clients, but a "
        "public text is learned fully or not at all; tau is relative to the mean distance; private and public texts "
        "have the same weight"
    )

    rounds: int = 1
    clients: int = 3
    client: int = 0
    public: float = 0.25
    skew: float = 1.0
    fusion: Fusion = "neighbours"
    tau: float = 1.0
    relevant: float = 0.5
    centres: int = 16
    peer: str = ""

    def __post_init__(self) -> None:
        self.check_fields(
            {
                "rounds": (self.rounds >= 0, "0 or more"),
                "clients": (self.clients >= 2, "2 or more"),
                "client": (0 <= self.client < self.clients, f"0 to {self.clients - 1}, one of the clients"),
                "public": (0 < self.public < 1, "more than 0 and less than 1"),
                "skew": (0 <= self.skew < numpy.inf, "0 or more"),
                "fusion": (self.fusion in get_args(Fusion), ", ".join(get_args(Fusion))),
                "tau": (0 < self.tau < numpy.inf, "more than 0"),
                "relevant": (0 < self.relevant <= 1, "more than 0, at most 1"),
                "centres": (self.centres >= 2, "2 or more"),
            }
        )

    @property
    def needs(self) -> frozenset[str]:
        """A teacher with layers for a peer that is made of them."""
        return frozenset({"model"} if self.peer.startswith("teacher") else ())

    @property
    def peers(self) -> tuple[str, ...]:
        """The field ``peer``, unless it is empty."""
        return (self.peer,) if self.peer else ()

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if there are too few texts for so many clients."""
        private = facts.texts - public_count(facts.texts, self.public)
        if self.rounds and private < LEAST * self.clients:
            raise OptionError(
                f"knfu has {private} private texts for {self.clients} clients; expected {LEAST} or more for each. Give "
                "more texts, or fewer clients or public texts."
            )

    def run(self, training: Training) -> None:
        """Train all clients in rounds; the student of ``client`` is trained last."""
        if self.rounds == 0:
            training.fit("first")
            return
        self.federate(training, [self.client])

    def federate(self, training: Training, last: Iterable[int]) -> dict[int, str]:
        """Train all clients in rounds, and return the name of the last fit of each.

        Only the clients ``last`` are trained in the last round, in this order.
        """
        setting = training.setting
        public, private = self.divide(setting)
        names: dict[int, str] = {}
        for client, rows in enumerate(private):
            names[client] = f"client-{client}"
            training.fit(names[client], rows=rows, peer=self.peer_of(client))
        for number in range(1, self.rounds + 1):
            outputs = numpy.stack([training.student(name, public) for name in names.values()])
            pairs = zip(private, outputs, strict=True)
            relevances = numpy.stack([self.relevance(setting.restricted(rows), own) for rows, own in pairs])
            fused = fuse(outputs, self.weights(distances(outputs, relevances)))
            for client in last if number == self.rounds else range(self.clients):
                chosen = most_relevant(relevances[client], self.relevant)
                targets = numpy.zeros((setting.texts, setting.dim), dtype=numpy.float32)
                targets[private[client]] = setting.targets(private[client])
                targets[public[chosen]] = fused[client, chosen]
                rows, name = numpy.union1d(private[client], public[chosen]), f"client-{client}-round-{number}"
                training.fit(name, rows=rows, targets=targets, start=names[client])
                names[client] = name
        return names

    def divide(self, setting: Setting) -> tuple[Int64, list[Int64]]:
        """Return the public rows, and the private rows of each client; all ascending, and no row twice.

        Raises `OptionError` if a client has fewer than two private texts.
        """
        draw = numpy.random.default_rng([setting.seed, 53])
        order = draw.permutation(setting.texts)
        public, rest = numpy.split(order, [public_count(setting.texts, self.public)])
        # If sources are divided, every client gets a few texts, whatever the draw says.
        dealt, rest = numpy.split(rest, [LEAST * self.clients if self.skew else 0])
        private = [[dealt[client :: self.clients]] for client in range(self.clients)]
        groups = groups_of(setting)[rest]
        for number, group in enumerate(numpy.unique(groups)):
            rows = rest[groups == group]
            if self.skew == 0:
                private[number % self.clients].append(rows)
                continue
            shares = draw.dirichlet(numpy.full(self.clients, self.skew))
            stops = numpy.round(numpy.cumsum(shares)[:-1] * len(rows)).astype(numpy.int64)
            for mine, part in zip(private, numpy.split(rows, stops), strict=True):
                mine.append(part)
        found = [numpy.sort(numpy.concatenate(parts)) for parts in private]
        if (fewest := min(map(len, found))) < 2:
            raise OptionError(
                f"knfu leaves a client with {fewest} private texts; expected 2 or more. Give texts from at least "
                f"{self.clients} sources of some size, fewer clients, or a skew above 0."
            )
        return numpy.sort(public), found

    def peer_of(self, client: int) -> str:
        """Return the name of the peer that ``client`` trains, empty for the student of the run."""
        return self.peer if (client - self.client) % 2 else ""

    def relevance(self, own: Setting, outputs: Float32) -> Float64:
        """Return the likelihood of each public text among a client's private texts, (public,), with sum 1.

        ``own`` has the private texts alone. ``outputs`` are the client's vectors of the public texts, (public, dim).
        The density is a mixture of von Mises-Fisher distributions around clusters.
        """
        anchors = fit_anchors(own, "clusters", min(self.centres, own.texts))
        logits = unit_rows(outputs) @ anchors.centres.numpy().T / float(anchors.temperature)
        density = numpy.logaddexp.reduce(logits.astype(numpy.float64), axis=1)
        likelihood = numpy.exp(density - density.max())
        return likelihood / likelihood.sum()

    def weights(self, distance: Float64) -> Float64:
        """Return a, (clients, clients), whose rows sum to 1, for the ``distance`` of the clients."""
        itself = numpy.eye(len(distance), dtype=bool)
        if self.fusion == "own":
            return itself.astype(numpy.float64)
        if self.fusion == "uniform":
            return numpy.full(distance.shape, 1 / len(distance))
        kept = itself | (distance <= nearer_half(distance)[:, None]) | (self.fusion == "all")
        mean = distance[~itself].mean()
        # Clients with the same outputs are all as near as can be.
        logits = numpy.where(kept, -distance / (self.tau * mean) if mean > 0 else 0.0, -numpy.inf)
        weights = numpy.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)


def public_count(texts: int, share: float) -> int:
    """Return the number of public texts, at least 1, of ``texts``."""
    return max(1, round(share * texts))


def groups_of(setting: Setting) -> Int64:
    """Return the group of each text, (texts,): its source, or its cluster if all have one source."""
    if len(numpy.unique(setting.domains)) > 1:
        return setting.domains
    anchors = fit_anchors(setting, "clusters", min(CLUSTERS, setting.texts))
    return (setting.targets(numpy.arange(setting.texts)) @ anchors.centres.numpy().T).argmax(axis=1)


def distances(outputs: Float32, relevances: Float64) -> Float64:
    """Return d_jk, (clients, clients), for vectors (clients, public, dim) and relevances (clients, public)."""
    clients = len(outputs)
    squares = numpy.zeros((clients, clients))
    for j in range(clients):
        for k in range(clients):
            apart = (outputs[j] - outputs[k]).astype(numpy.float64)
            squares[j, k] = relevances[j] @ (apart * apart).sum(axis=1)
    return squares


def nearer_half(distance: Float64) -> Float64:
    """Return the median distance of each client from the others, (clients,)."""
    clients = len(distance)
    return numpy.median(distance[~numpy.eye(clients, dtype=bool)].reshape(clients, clients - 1), axis=1)


def fuse(outputs: Float32, weights: Float64) -> Float32:
    """Return the fused vectors of each client, (clients, public, dim), for ``weights`` (clients, clients).

    They have unit length if the ``outputs`` (clients, public, dim) do.
    """
    flat = outputs.reshape(-1, outputs.shape[-1])
    fused = numpy.einsum("jk,kud->jud", weights, outputs).astype(numpy.float32).reshape(flat.shape)
    return (unit_rows(fused) if are_unit(flat) else fused).reshape(outputs.shape)


def most_relevant(relevance: Float64, share: float) -> Int64:
    """Return the places of the ``share`` of public texts, at least one, with the highest ``relevance``, ascending."""
    most = max(1, round(share * len(relevance)))
    return numpy.sort(numpy.argsort(-relevance, kind="stable")[:most])
