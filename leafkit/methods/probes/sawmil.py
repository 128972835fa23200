"""Trilemma of Truth (sAwMIL): whether the student's token states say true, false and neither as the teacher's do.

Paper: https://arxiv.org/abs/2506.23921

    a bag = the token states of one statement, standardised; m = 1 for its last tokens, else 0; one class against others
    1. sparse multiple-instance SVM: min |w|^2 / 2 + C mean max(0, 1 + w.x + b)^2 over the tokens x of negative bags
       + C mean max(0, 2/n - 1 - w.mean(X) - b)^2 over the positive bags X of n tokens
    2. with eta = sum of m / number of tokens, the best max(round(eta N), bags) of the N tokens of positive bags are
       positive if m = 1; all other tokens are negative; an SVM on the tokens gives the direction w
    3. scores of all classes -> multinomial logistic regression -> p; nonconformity (1 - (p_y - max of the others)) / 2;
       a class is kept if (number of calibration scores >= its own + 1) / (calibration texts + 1) > alpha; the probe
       abstains unless exactly one class is kept
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError
from leafkit.methods.method import Probe
from leafkit.methods.setting import Facts
from leafkit.students.head import fit_head
from leafkit.types import Int64

if TYPE_CHECKING:
    from leafkit.methods.look import Look

Float64 = NDArray[numpy.float64]
Bool = NDArray[numpy.bool_]

# Texts that both models read at once, and the fewest training texts of a class.
CHUNK, LEAST = 64, 4
# Positive tokens outside the located ones count as well if fewer than this share of them would be left.
LEAST_LOCATED = 0.05
# The logistic regression is nearly unpenalised, because scores that separate the classes have no finite optimum.
INVERSE_PENALTY = 1e3


@dataclass(frozen=True, kw_only=True)
class Sawmil(Probe):
    """Read the classes of labelled held-out texts from the token states of teacher and student, and compare the two.

    Label held-out statements ``true``, ``false`` and ``neither``, for example: a word with its definition, a word with
    that of another, and an invented word with one. The same labels must occur among the training texts. Half of
    the labelled held-out texts train the probe, a quarter calibrates it and a quarter tests it. A statement that is
    hard to tell makes the probe abstain, and few wrong answers then cost few right ones.

    The figures of a side: ``mcc`` of the answered texts (Matthews' correlation), ``accepted`` (the share of answered
    texts), ``weighted`` (their product, 1 at best and 0 for guessing) and ``coverage`` (the share of texts whose class
    is kept, 0.9 for an error of 0.1). ``kept`` is the student's ``weighted`` divided by the teacher's. ``mapped`` is
    ``weighted`` of the teacher's own probe on the student's states, which a linear map turns into the teacher's.
    ``cosine`` is that of the student's directions with those of the teacher, brought back by the same map.

    ``every``: number of validations from one observation to the next; 0 disables the probe.
    ``last``: number of last tokens with m = 1 (paper: 2, for causal models); 0 for all tokens, which say more where a
    model reads in both directions (``weighted`` 0.21 instead of 0.09 after eight layers of bge-small).
    ``most``: largest number of tokens of a bag; the last ones are always kept and others drawn (paper: 10).
    ``cost``: C of both SVMs (paper: the best of five by cross-validation; ours 0.05 for all).
    ``error``: alpha, the share of texts whose true class may be lost (paper: 0.1).
    ``texts``: largest number of labelled held-out texts, taken from the start (paper: 3600; ours 1200).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2506.23921"
    reconstruction: ClassVar[str] = (
        "states are those of the last layer alone, because only these are learned from; the score of a text is the "
        "largest of its located tokens, the paper's that of the last token; errors are squared, which makes the SVMs "
        "smooth; C is fixed; texts are split at random, so give no two texts about one entity. Left out: attention "
        "rollout to locate tokens of models that read in both directions, and the tests of manipulation and locality"
    )
    small: ClassVar[Mapping[str, Any]] = {"every": 5, "texts": 40}

    last: int = 2
    most: int = 10
    cost: float = 0.05
    error: float = 0.1
    texts: int = 1200

    def __post_init__(self) -> None:
        least = {"every": 0, "last": 0, "most": 1, "texts": 1}
        checks = {name: (getattr(self, name) >= bound, f"{bound} or more") for name, bound in least.items()}
        checks["cost"] = (self.cost > 0, "more than 0")
        self.check_fields(checks | {"error": (0 < self.error < 1, "more than 0 and less than 1")})

    @property
    def needs(self) -> frozenset[str]:
        """The token states of both sides, and classes."""
        return frozenset({"tokens", "labels"})

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if there are fewer than two classes."""
        if self.every and facts.classes < 2:
            raise OptionError(f"sawmil found {facts.classes} class; expected two or more labels, or remove sawmil.")

    def observe(self, look: Look) -> dict[str, Any]:
        """Return the figures of both sides, or the event ``few_labels`` if the classes cannot be learned."""
        rows = numpy.flatnonzero(look.labels >= 0)[: self.texts]
        labels = look.labels[rows]
        train, calibration, test = thirds(len(rows))
        classes, counts = numpy.unique(labels[train], return_counts=True)
        # With fewer calibration texts, no class could ever be left out.
        if len(classes) < 2 or counts.min() < LEAST or len(calibration) + 1 <= 1 / self.error:
            return {"labelled": len(rows), "events": ["few_labels"]}
        bags = read_bags(look, rows, last=self.last, most=self.most)
        probes = {side: self.fit([bags[side][row] for row in train], labels[train]) for side in bags}
        figures: dict[str, Any] = {"labelled": len(rows)}
        parts = labels, train, calibration, test
        for side, probe in probes.items():
            measured = self.measure(probe.scores(bags[side], self.last), *parts)
            figures |= {f"{side}_{name}": value for name, value in measured.items()}
        backwards = self._mapped(probes, bags, train)
        figures["mapped"] = self.measure(backwards.scores(bags["student"], self.last), *parts)["weighted"]
        cosines = (_unit(backwards.directions) * _unit(probes["student"].directions)).sum(axis=1)
        teacher = figures["teacher_weighted"]
        kept = figures["student_weighted"] / teacher if teacher > 0 else 0.0
        return figures | {"kept": kept, "cosine": float(cosines.mean())}

    def fit(self, bags: Sequence[Float64], labels: Int64) -> Directions:
        """Return the directions of all classes of the ``labels`` (bags,), learned from ``bags`` of token states."""
        tokens = numpy.concatenate(bags)
        mean, spread = tokens.mean(axis=0), numpy.maximum(tokens.std(axis=0), 1e-6)
        standard = [(bag - mean) / spread for bag in bags]
        fitted = [sawmil(standard, labels == one, last=self.last, cost=self.cost) for one in numpy.unique(labels)]
        directions, biases = (numpy.array(part) for part in zip(*fitted, strict=True))
        return Directions(mean=mean, spread=spread, directions=directions, biases=biases)

    def measure(
        self, scores: Float64, labels: Int64, train: Int64, calibration: Int64, test: Int64
    ) -> dict[str, float]:
        """Return the figures of the ``scores`` (texts, classes) for the texts ``test``, as the class docstring says."""
        classes, places = numpy.unique(labels[train], return_inverse=True)
        probabilities = class_probabilities(scores, places, train)
        # A text of a class that no training text has counts as wrong.
        known = numpy.searchsorted(classes, labels).clip(max=len(classes) - 1)
        seen = classes[known] == labels
        strange = nonconformity(probabilities)
        kept = p_values(strange[calibration, known[calibration]], strange[test]) > self.error
        answered = kept.sum(axis=1) == 1
        right = known[test]
        found = kept.argmax(axis=1)
        mcc = correlation(found[answered], numpy.where(seen[test], right, -1)[answered])
        accepted = float(answered.mean())
        coverage = float((kept[numpy.arange(len(test)), right] & seen[test]).mean())
        return {"mcc": mcc, "accepted": accepted, "weighted": mcc * accepted, "coverage": coverage}

    def _mapped(self, probes: Mapping[str, Directions], bags: Mapping[str, list[Float64]], train: Int64) -> Directions:
        """Return the teacher's probe as one of the student's states, by the ridge map between their token states."""
        ours, theirs = probes["student"], probes["teacher"]
        states, targets = (
            numpy.concatenate([probe.standard(bags[side][row]) for row in train]).astype(numpy.float32)
            for side, probe in (("student", ours), ("teacher", theirs))
        )
        found = fit_head(states, targets)
        biases = theirs.directions @ found.bias + theirs.biases
        return Directions(
            mean=ours.mean, spread=ours.spread, directions=theirs.directions @ found.weight, biases=biases
        )


@dataclass(frozen=True, kw_only=True)
class Directions:
    """Directions (classes, width) with biases (classes,), for states that ``mean`` and ``spread`` standardise."""

    mean: Float64
    spread: Float64
    directions: Float64
    biases: Float64

    def standard(self, bag: Float64) -> Float64:
        """Return the token states ``bag``, (tokens, width), standardised."""
        return (bag - self.mean) / self.spread

    def scores(self, bags: Sequence[Float64], last: int) -> Float64:
        """Return the largest score of the located tokens of each bag for each class, (bags, classes)."""
        located = (self.standard(bag[-last:]) for bag in bags)
        return numpy.array([(tokens @ self.directions.T + self.biases).max(axis=0) for tokens in located])


def sawmil(bags: Sequence[Float64], positive: Bool, *, last: int, cost: float) -> tuple[Float64, float]:
    """Return the direction (width,) and the bias of the bags that are ``positive``, against the others.

    ``bags`` are standardised token states, (tokens, width) each. The ``last`` tokens of each are located, 0 for all.
    """
    sides = [positive[row].repeat(len(bag)) for row, bag in enumerate(bags)]
    tokens, of_positive = numpy.concatenate(bags), numpy.concatenate(sides)
    located = numpy.concatenate([numpy.arange(len(bag)) >= len(bag) - (last or len(bag)) for bag in bags])
    direction, bias = sparse_bags(bags, positive, cost)
    scores = (tokens @ direction + bias)[of_positive]
    chosen = numpy.zeros(len(tokens), dtype=bool)
    share, count = float(located.mean()), int(positive.sum())
    chosen[of_positive] = positive_tokens(scores, located[of_positive], share, count)
    weights = numpy.full(len(tokens), cost)
    return linear_svm(tokens, numpy.where(chosen, 1.0, -1.0), weights)


def sparse_bags(bags: Sequence[Float64], positive: Bool, cost: float) -> tuple[Float64, float]:
    """Return direction and bias of the sparse multiple-instance SVM on the means of positive bags and single tokens.

    A bag of n tokens, one of them positive, has a mean score of 2/n - 1 if positive tokens score 1 and others -1.
    """
    chosen = [bag for bag, side in zip(bags, positive, strict=True) if side]
    others = numpy.concatenate([bag for bag, side in zip(bags, positive, strict=True) if not side])
    points = numpy.concatenate([others, [bag.mean(axis=0) for bag in chosen]])
    sides = numpy.repeat([-1.0, 1.0], [len(others), len(chosen)])
    margins = numpy.concatenate([numpy.ones(len(others)), [2 / len(bag) - 1 for bag in chosen]])
    weights = numpy.repeat([cost / len(others), cost / len(chosen)], [len(others), len(chosen)])
    return linear_svm(points, sides, weights, margins)


def positive_tokens(scores: Float64, located: Bool, share: float, bags: int) -> Bool:
    """Return which tokens of positive bags are positive, by their ``scores`` (tokens,) in the first stage.

    ``located`` (tokens,) is m, ``share`` is eta, and ``bags`` the number of positive bags.
    """
    count = min(max(round(share * len(scores)), bags), len(scores))
    best = scores >= numpy.partition(scores, -count)[-count]
    chosen = best & located
    return chosen if chosen.mean() >= LEAST_LOCATED else best


def linear_svm(
    points: Float64, sides: Float64, weights: Float64, margins: Float64 | None = None
) -> tuple[Float64, float]:
    """Return w and b of min |w|^2 / 2 + sum of ``weights`` times max(0, ``margins`` - ``sides`` (w.x + b))^2.

    ``points`` are (rows, width), ``sides`` (rows,) are 1 or -1, ``margins`` are 1 by default. b is not penalised.
    """
    from scipy.optimize import minimize

    wanted = numpy.ones(len(points)) if margins is None else margins

    def objective(solution: Float64) -> tuple[float, Float64]:
        missing = numpy.maximum(wanted - sides * (points @ solution[:-1] + solution[-1]), 0)
        pull = -2 * weights * missing * sides
        loss = solution[:-1] @ solution[:-1] / 2 + weights @ missing**2
        return float(loss), numpy.append(solution[:-1] + pull @ points, pull.sum())

    start = numpy.zeros(points.shape[1] + 1)
    # scipy's result is a dictionary whose fields its stubs do not declare.
    found: Any = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return found.x[:-1], float(found.x[-1])


def class_probabilities(scores: Float64, places: Int64, train: Int64) -> Float64:
    """Return the probability of each class, (texts, classes), by a logistic regression on the scores of ``train``.

    ``places`` (training texts,) are the columns of the classes. Classes count alike, however many texts they have.
    """
    from sklearn.linear_model import LogisticRegression

    mean, spread = scores[train].mean(axis=0), numpy.maximum(scores[train].std(axis=0), 1e-6)
    model = LogisticRegression(C=INVERSE_PENALTY, class_weight="balanced", max_iter=1000)
    model.fit((scores[train] - mean) / spread, places)
    return numpy.asarray(model.predict_proba((scores - mean) / spread))


def nonconformity(probabilities: Float64) -> Float64:
    """Return how unlike each text is to each class, (texts, classes): 0 if the class is certain, 1 if another is."""
    others = numpy.stack(
        [numpy.delete(probabilities, place, axis=1).max(axis=1) for place in range(probabilities.shape[1])], axis=1
    )
    return (1 - (probabilities - others)) / 2


def p_values(calibration: Float64, scores: Float64) -> Float64:
    """Return the share of ``calibration`` scores (texts,) that are at least as large as each of ``scores``.

    The text itself counts as one of them, so a text that is like the calibration texts has a p-value of at most alpha
    with a probability of at most alpha.
    """
    below = numpy.searchsorted(numpy.sort(calibration), scores, side="left")
    return (len(calibration) - below + 1) / (len(calibration) + 1)


def correlation(found: Int64, expected: Int64) -> float:
    """Return Matthews' correlation of two classifications, (texts,); 0 if one of them has a single class."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(expected, found)) if len(found) else 0.0


def thirds(count: int) -> tuple[Int64, Int64, Int64]:
    """Return a half, a quarter and a quarter of ``count`` rows, ascending: to train, to calibrate and to test."""
    order = numpy.random.default_rng(count).permutation(count)
    first, second = count // 2, count - count // 4
    return numpy.sort(order[:first]), numpy.sort(order[first:second]), numpy.sort(order[second:])


def read_bags(look: Look, rows: Int64, *, last: int, most: int) -> dict[str, list[Float64]]:
    """Return the token states of the held-out ``rows`` by side, (tokens, width) for each text, at most ``most`` tokens.

    The ``last`` tokens of a text are always kept, and the others are drawn. Both sides keep the same tokens.
    """
    bags: dict[str, list[Float64]] = {"teacher": [], "student": []}
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        tokens = look.tokens(chunk)
        mask = tokens.mask.cpu().numpy()
        sides = {side: getattr(tokens, side).detach().float().cpu().numpy() for side in bags}
        for place, row in enumerate(chunk):
            words = numpy.flatnonzero(mask[place])
            # Of a text without words, the first special token is read.
            kept = capped(words if len(words) else numpy.arange(1), int(row), last=last, most=most)
            for side, states in sides.items():
                bags[side].append(states[place, kept].astype(numpy.float64))
    return bags


def capped(tokens: Int64, seed: int, *, last: int, most: int) -> Int64:
    """Return at most ``most`` of the ``tokens``, ascending: the ``last`` ones and others drawn from ``seed``."""
    if len(tokens) <= most:
        return tokens
    fixed = min(last, most)
    others = numpy.random.default_rng(seed).permutation(tokens[: len(tokens) - fixed])[: most - fixed]
    return numpy.sort(numpy.concatenate([others, tokens[len(tokens) - fixed :]]))


def _unit(directions: Float64) -> Float64:
    return directions / numpy.maximum(numpy.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
