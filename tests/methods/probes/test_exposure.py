"""Exposure: the rank of secrets among texts of the same form."""

import math

import numpy
import pytest

from leafkit.errors import InputError, OptionError
from leafkit.methods.objectives.swing import find_private
from leafkit.methods.probes.exposure import Exposure, candidates, exposure, form

SECRET = "my code is 4711-0815"


class Asked:
    """A teacher whose vectors depend on the text alone; it notes the texts."""

    def __init__(self):
        self.texts = []

    def encode(self, texts, roles):
        assert len(roles) == len(texts)
        self.texts += texts
        return vectors(texts)


def vectors(texts, noise=0.0):
    draws = [numpy.random.default_rng(list(text.encode())) for text in texts]
    clean = numpy.array([draw.standard_normal(8) for draw in draws], dtype=numpy.float32)
    return clean + noise * numpy.array([draw.standard_normal(8) for draw in draws], dtype=numpy.float32)


@pytest.fixture
def look(make_look):
    """A look at a student that learned the texts ``learned`` by heart and is noisy elsewhere."""

    def make(learned=()):
        def encode(texts, roles):
            known = numpy.array([text in learned for text in texts])
            return numpy.where(known[:, None], vectors(texts), vectors(texts, noise=1.0))

        return make_look(numpy.zeros((3, 8)), numpy.zeros((3, 8)), ask=Asked(), encode=encode)

    return make


def test_the_largest_exposure_is_log2_of_the_number_of_candidates():
    assert exposure(1.0, numpy.zeros(1000)) == math.log2(1001)
    assert exposure(-1.0, numpy.zeros(1000)) == 0


def test_an_exposure_worked_by_hand():
    # Two of seven other texts are better, so the rank is 3 of 8: log2(8) - log2(3).
    assert exposure(0.5, numpy.array([0.9, 0.8, 0.1, 0.2, 0.3, 0.0, 0.4])) == pytest.approx(3 - math.log2(3))


def test_a_random_model_reveals_1_44_bits_on_average():
    draw = numpy.random.default_rng(0)
    scores = draw.random((4000, 1001))
    mean = numpy.mean([exposure(row[0], row[1:]) for row in scores])
    assert mean == pytest.approx(1 / math.log(2), abs=0.1)


def test_equal_scores_rank_in_the_middle():
    assert exposure(0.0, numpy.zeros(2)) == pytest.approx(math.log2(3) - 1)


def test_a_learned_secret_is_exposed_fully_and_another_one_is_not(look):
    probe = Exposure(count=200)
    assert probe.observe(look([SECRET]))["exposure_mean"] == pytest.approx(math.log2(201))
    assert probe.observe(look())["exposure_mean"] < 5


def test_secrets_of_a_file_share_the_candidates_of_their_form(look, tmp_path):
    file = tmp_path / "secrets.txt"
    file.write_text(f"{SECRET}\n\nmy code is 2342-1701\nmail jo@mail.org\n{SECRET}\n")
    seen = look([SECRET])
    found = Exposure(file=str(file), count=100).observe(seen)
    assert found["secrets"] == 3
    assert found["exposure_most"] == pytest.approx(math.log2(101))
    assert found["exposure_mean"] < found["exposure_most"]
    assert len(seen.ask.texts) == 3 + 2 * 100


def test_candidates_have_the_form_of_the_secret_and_are_the_same_each_time():
    some = candidates(SECRET, 300)
    assert len(set(some)) == 300
    assert {form(text) for text in some} == {form(SECRET)} == {"my code is 0000-0000"}
    assert some == candidates("my code is 2342-1701", 300)


def test_letters_vary_in_private_words_only():
    secret = "Ask jo.Doe@x.org in room 12"
    assert form(secret) == "Ask aa.Aaa@a.aaa in room 00"
    assert all([kind for kind, _, _ in find_private(text)] == ["email"] for text in candidates(secret, 20))


def test_a_secret_with_too_few_possible_texts_is_refused(look):
    with pytest.raises(OptionError, match="finds 100 texts like 'room 00'; expected at least 200"):
        Exposure(secret="room 12", count=100).observe(look())


def test_a_look_that_cannot_ask_is_refused(make_look):
    with pytest.raises(TypeError, match="must need 'online'"):
        Exposure().observe(make_look(numpy.zeros((3, 8)), numpy.zeros((3, 8)), ask=None))


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot read"), (b"\n \n", "is empty"), (b"\xff", "cannot read")]
)
def test_a_file_without_secrets_is_refused(content, message, look, tmp_path):
    file = tmp_path / "secrets.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        Exposure(file=str(file)).observe(look())


@pytest.mark.parametrize("field", [{"every": -1}, {"count": 0}, {"secret": " "}])
def test_invalid_options_are_refused(field):
    with pytest.raises(OptionError, match=f"exposure:{next(iter(field))} is .*; expected"):
        Exposure(**field)
