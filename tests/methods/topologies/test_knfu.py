"""KnFu: its fusion as laws, against a rival in loops, and what each client may see."""

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.methods.setting import Setting
from leafkit.methods.topologies.knfu import LEAST, Knfu, distances, fuse, most_relevant, nearer_half, public_count
from tests.methods.conftest import unit

CLIENTS, PUBLIC, DIM = 5, 30, 4


@pytest.fixture
def outputs():
    """The unit vectors of 30 public texts by five clients, the first three near each other, (5, 30, 4)."""
    common = [unit(PUBLIC, DIM, 0)] * 3 + [unit(PUBLIC, DIM, 1)] * 2
    near = numpy.stack([vectors + 0.2 * unit(PUBLIC, DIM, 2 + number) for number, vectors in enumerate(common)])
    return near / numpy.linalg.norm(near, axis=2, keepdims=True)


@pytest.fixture
def relevances():
    draw = numpy.random.default_rng(9).random((CLIENTS, PUBLIC))
    return draw / draw.sum(axis=1, keepdims=True)


class Recorded:
    """A training whose students write the teacher's vectors with noise of their own; it records what was asked."""

    def __init__(self, setting):
        self.setting, self.fits, self.read = setting, {}, []

    def fit(self, name, *, rows=None, targets=None, start=None, peer=""):
        assert name not in self.fits
        self.fits[name] = {"rows": rows, "targets": targets, "start": start, "peer": peer}

    def student(self, name, rows):
        self.read.append((name, rows))
        number = int(name.split("-")[1])
        every = self.setting.targets(numpy.arange(120)) + 0.3 * unit(120, self.setting.dim, 20 + number)
        return (every / numpy.linalg.norm(every, axis=1, keepdims=True))[rows].astype(numpy.float32)


@pytest.mark.parametrize("fusion", ["neighbours", "all", "uniform", "own"])
def test_the_weights_of_a_client_sum_to_one_and_its_own_is_the_largest(outputs, relevances, fusion):
    weights = Knfu(clients=CLIENTS, fusion=fusion).weights(distances(outputs, relevances))
    numpy.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights >= 0).all()
    assert (weights.diagonal() == weights.max(axis=1)).all()


@pytest.mark.parametrize("fusion", ["neighbours", "all"])
def test_clients_with_the_same_outputs_are_averaged_uniformly(outputs, relevances, fusion):
    same = numpy.repeat(outputs[:1], CLIENTS, axis=0)
    weights = Knfu(clients=CLIENTS, fusion=fusion).weights(distances(same, relevances))
    numpy.testing.assert_allclose(weights, 1 / CLIENTS)
    numpy.testing.assert_allclose(fuse(same, weights), same, atol=1e-6)


@pytest.mark.parametrize("fusion", ["neighbours", "all"])
def test_tau_leads_from_the_own_outputs_to_a_mean(outputs, relevances, fusion):
    apart = distances(outputs, relevances)
    cold, warm = (Knfu(clients=CLIENTS, fusion=fusion, tau=tau).weights(apart) for tau in (1e-4, 1e6))
    numpy.testing.assert_allclose(cold, numpy.eye(CLIENTS), atol=1e-12)
    numpy.testing.assert_allclose(fuse(outputs, cold), outputs, atol=1e-6)
    averaged = 3 if fusion == "neighbours" else 5  # the nearer two of the four others, and the client itself
    assert ((numpy.abs(warm - 1 / averaged) < 1e-5).sum(axis=1) == averaged).all()


def test_only_the_nearer_half_of_the_others_is_fused(outputs, relevances):
    weights = Knfu(clients=CLIENTS).weights(distances(outputs, relevances))
    assert (weights[:3, 3:] == 0).all()
    assert (weights[:3, :3] > 0).all()


def test_permuting_the_clients_permutes_the_fusion(outputs, relevances):
    order = numpy.array([3, 0, 4, 2, 1])
    method = Knfu(clients=CLIENTS)
    weights = method.weights(distances(outputs, relevances))
    permuted = method.weights(distances(outputs[order], relevances[order]))
    numpy.testing.assert_allclose(permuted, weights[order][:, order])
    fused = fuse(outputs, weights)
    numpy.testing.assert_allclose(fuse(outputs[order], permuted), fused[order], atol=1e-6)
    numpy.testing.assert_allclose(numpy.linalg.norm(fused, axis=2), 1, rtol=1e-6)


def test_fusion_worked_by_hand():
    outputs = numpy.array([[[0.0], [0.0]], [[1.0], [0.0]], [[0.0], [2.0]]], dtype=numpy.float32)
    relevances = numpy.array([[0.75, 0.25], [0.5, 0.5], [0.5, 0.5]])
    apart = distances(outputs, relevances)
    # |0 - 1|^2 = 1 on the first text and |0 - 2|^2 = 4 on the second, weighed by the relevance to the asking client.
    numpy.testing.assert_allclose(apart, [[0, 0.75, 1.0], [0.5, 0, 2.5], [2.0, 2.5, 0]])
    numpy.testing.assert_allclose(nearer_half(apart), [0.875, 1.5, 2.25])
    mean = (0.75 + 1.0 + 0.5 + 2.5 + 2.0 + 2.5) / 6
    first = numpy.exp(-0.75 / (2 * mean))
    weights = Knfu(tau=2).weights(apart)
    numpy.testing.assert_allclose(weights[0], [1 / (1 + first), first / (1 + first), 0])
    numpy.testing.assert_allclose(fuse(outputs, weights)[0, :, 0], [weights[0, 1], 0])


def test_the_relevance_is_the_density_of_the_private_texts(make_setting):
    setting = make_setting()
    rows = numpy.sort(setting.targets(numpy.arange(120))[:, 0].argsort()[:40])  # one side of the sphere
    own, method = setting.restricted(rows), Knfu(centres=6)
    outputs = numpy.concatenate([setting.targets(rows[:20]), -setting.targets(rows[:20])])
    relevance = method.relevance(own, outputs)
    assert relevance.sum() == pytest.approx(1)
    assert relevance[:20].mean() > 1.5 * relevance[20:].mean()
    turned = method.relevance(own, outputs[::-1])
    numpy.testing.assert_allclose(turned, relevance[::-1])


def test_the_most_relevant_texts_are_chosen():
    assert most_relevant(numpy.array([0.1, 0.4, 0.2, 0.3]), 0.5).tolist() == [1, 3]
    assert most_relevant(numpy.array([0.1, 0.4]), 0.01).tolist() == [1]
    assert public_count(3, 0.01) == 1


@pytest.mark.parametrize("skew", [0.0, 0.1, 100.0])
def test_the_texts_are_divided_without_overlap(make_setting, skew):
    public, private = Knfu(clients=2, skew=skew).divide(make_setting())
    assert sorted(numpy.concatenate([public, *private])) == list(range(120))
    assert len(public) == 30
    assert all(len(rows) >= LEAST for rows in private)
    domains = (private[0] >= 90).mean(), (private[1] >= 90).mean()
    if skew == 0:
        assert domains == (0, 1)
    if skew == 100:
        assert domains[0] == pytest.approx(domains[1], abs=0.15)


def test_texts_of_one_source_are_divided_by_their_clusters(make_setting):
    setting = make_setting(domains=numpy.zeros(120, dtype=numpy.int64))
    private = Knfu(clients=2, skew=0.0).divide(setting)[1]
    means = [setting.targets(rows).mean(axis=0) for rows in private]
    assert numpy.linalg.norm(means[0] - means[1]) > 0.2


def test_no_private_text_leaves_its_client(make_setting, monkeypatch):
    """A student is asked about public texts alone, and a client learns and asks about its own and public ones."""
    setting, given = make_setting(), []
    method = Knfu(clients=3, rounds=2, relevant=0.3, client=1)
    monkeypatch.setattr(
        Knfu, "relevance", lambda self, own, outputs: given.append(own) or numpy.full(len(outputs), 1 / len(outputs))
    )
    training = Recorded(setting)
    method.run(training)
    public, private = method.divide(setting)
    assert list(training.fits)[-1] == "client-1-round-2"
    assert len(training.fits) == 3 + 3 + 1
    assert all(numpy.array_equal(rows, public) for _, rows in training.read)
    assert all(isinstance(own, Setting) and own.ask is own.live is None for own in given)
    assert [own.texts for own in given] == 2 * [len(rows) for rows in private]
    for name, fit in training.fits.items():
        client = int(name.split("-")[1])
        assert set(fit["rows"]) <= {*private[client], *public}
        if fit["targets"] is None:
            assert numpy.array_equal(fit["rows"], private[client])
            continue
        assert set(numpy.flatnonzero(fit["targets"].any(axis=1))) == set(fit["rows"])
        assert numpy.array_equal(fit["targets"][private[client]], setting.targets(private[client]))
        assert len(fit["rows"]) == len(private[client]) + 9


def test_every_client_continues_its_own_student_on_fused_vectors(make_setting):
    training = Recorded(make_setting())
    method = Knfu(clients=3, relevant=1.0, fusion="uniform", peer="static:dim=8")
    method.federate(training, range(3))
    public = method.divide(training.setting)[0]
    fused = numpy.mean([training.student(f"client-{number}", public) for number in range(3)], axis=0)
    fused /= numpy.linalg.norm(fused, axis=1, keepdims=True)
    for number in range(3):
        fit = training.fits[f"client-{number}-round-1"]
        assert fit["start"] == f"client-{number}"
        numpy.testing.assert_allclose(fit["targets"][public], fused, atol=1e-6)
    assert [training.fits[f"client-{number}"]["peer"] for number in range(3)] == ["", "static:dim=8", ""]


def test_without_rounds_one_student_learns_all_texts(make_setting):
    training = Recorded(make_setting())
    Knfu(rounds=0).run(training)
    assert training.fits == {"first": {"rows": None, "targets": None, "start": None, "peer": ""}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"clients": 1}, "2 or more"),
        ({"client": 3}, "0 to 2, one of the clients"),
        ({"public": 1.0}, "more than 0 and less than 1"),
        ({"fusion": "mean"}, "neighbours, all, uniform, own"),
        ({"tau": 0.0}, "more than 0"),
        ({"relevant": 0.0}, "more than 0, at most 1"),
    ],
)
def test_invalid_options_are_refused(fields, expected):
    with pytest.raises(OptionError, match=f"knfu:{next(iter(fields))} is .*; expected {expected}"):
        Knfu(**fields)


def test_too_few_texts_for_the_clients_are_refused(make_setting):
    with pytest.raises(OptionError, match="knfu has 90 private texts for 12 clients; expected 8 or more for each"):
        Knfu(clients=12).check(make_setting())
    with pytest.raises(OptionError, match="knfu leaves a client with 0 private texts; expected 2 or more"):
        Knfu(clients=3, skew=0.0).divide(make_setting())


def test_only_a_peer_of_the_teacher_needs_its_layers():
    assert Knfu(peer="teacher:layers=1").needs == {"model"}
    assert Knfu(peer="teacher:layers=1").peers == ("teacher:layers=1",)
    assert Knfu().needs == frozenset()
    assert Knfu().peers == ()
