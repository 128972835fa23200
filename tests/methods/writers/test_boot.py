"""BOOT: texts without data, and targets along a path whose steps are those of DDIM."""

from types import SimpleNamespace

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.files.digest import text_key
from leafkit.methods.plan import make_plan
from leafkit.methods.writers.boot import Boot, kappas, random_texts, rescaled, towards, whole_words
from leafkit.texts.table import TextTable

VOCABULARY = ["[PAD]", "the", "##s", "of", "x", "run", "run2", "Cat", "cat", "[unused1]", "dog", "tree", "sky"]


class Answers:
    """A teacher that is asked for its vocabulary alone."""

    def vocabulary(self):
        return VOCABULARY


@pytest.fixture
def texts():
    made = TextTable(repeated=4)
    for row in range(40):
        role = ("query", "query", "document")[row % 3]
        made.add(f"given text {row}", role, text_key(role, f"given text {row}"), label="l", domain="d")
    return made


def unit(rows, dim, seed):
    drawn = numpy.random.default_rng(seed).normal(size=(rows, dim))
    return drawn / numpy.linalg.norm(drawn, axis=1, keepdims=True)


class Trainings:
    """The trainings of a topology; the student of a fit writes its targets with an error."""

    def __init__(self, teacher, error=0.0):
        self.teacher, self.error, self.fits = teacher, error, []
        rows = len(teacher)
        self.setting = SimpleNamespace(texts=rows, targets=lambda rows: teacher[rows])

    def fit(self, name, *, rows=None, targets=None, start=None):
        self.fits.append((name, targets, start))

    def student(self, name, rows):
        (targets,) = (targets for known, targets, _ in self.fits if known == name)
        return targets[rows] + self.error


def test_a_step_is_that_of_ddim():
    draw = numpy.random.default_rng(0)
    for _ in range(20):
        later, earlier = numpy.sort(draw.uniform(0.05, 1.5, 2))
        signal, estimate, noise = draw.normal(size=(3, 5, 4))
        noisy = numpy.cos(earlier) * signal + numpy.sin(earlier) * noise
        # DDIM: the noise that the estimate implies, put back at the later time.
        implied = (noisy - numpy.cos(earlier) * estimate) / numpy.sin(earlier)
        next_noisy = numpy.cos(later) * estimate + numpy.sin(later) * implied
        next_signal = (next_noisy - numpy.sin(later) * noise) / numpy.cos(later)
        kappa = numpy.cos(earlier) * numpy.sin(later) / (numpy.cos(later) * numpy.sin(earlier))
        numpy.testing.assert_allclose(towards(signal, estimate, kappa), next_signal, rtol=0, atol=1e-12 * 1e3)


def test_steps_compose_by_the_product_of_kappa():
    before, teacher = unit(5, 4, 0), unit(5, 4, 1)
    twice = towards(towards(before, teacher, 0.3), teacher, 0.7)
    numpy.testing.assert_allclose(twice, towards(before, teacher, 0.21), atol=1e-12)
    angles = kappas(50, 0.9)
    left = numpy.prod(angles[:30])
    assert left == pytest.approx(numpy.tan(0.9 * numpy.pi / 2 * 20 / 50) / numpy.tan(0.9 * numpy.pi / 2))


def test_the_teacher_is_a_fixed_point_and_kappa_0_is_plain_regression():
    before, teacher = unit(5, 4, 0), unit(5, 4, 1)
    numpy.testing.assert_allclose(towards(teacher, teacher, 0.6), teacher, atol=1e-15)
    numpy.testing.assert_allclose(towards(before, teacher, 0.0), teacher, atol=1e-15)
    assert kappas(1, 0.9) == [0.0]
    assert kappas(3, 0.9)[-1] == 0.0
    assert all(0 < kappa < 1 for kappa in kappas(3, 0.9)[:-1])


def test_each_stage_starts_from_the_one_before_and_the_last_learns_the_teacher():
    teacher = unit(30, 6, 0).astype(numpy.float32)
    trainings = Trainings(teacher)
    Boot(stages=3).run(trainings)
    names, targets, starts = zip(*trainings.fits, strict=True)
    assert names == ("stage-1", "stage-2", "stage-3")
    assert starts == (None, "stage-1", "stage-2")
    first, second, _ = kappas(3, 0.9)
    mean = teacher.mean(axis=0)
    expected = rescaled(towards(numpy.tile(mean, (30, 1)), teacher, first), teacher)
    numpy.testing.assert_allclose(targets[0], expected, atol=1e-6)
    numpy.testing.assert_allclose(targets[1], rescaled(towards(targets[0], teacher, second), teacher), atol=1e-6)
    numpy.testing.assert_allclose(targets[2], teacher, atol=1e-6)
    assert all(each.dtype == numpy.float32 for each in targets)


def test_targets_are_made_from_what_the_student_wrote_not_from_what_it_should_have_written():
    teacher = unit(30, 6, 0).astype(numpy.float32)
    trainings = Trainings(teacher, error=0.5)
    Boot(stages=2).run(trainings)
    wrong = Trainings(teacher * 3)  # not of unit length, so nothing is rescaled
    wrong.error = 0.5
    Boot(stages=3).run(wrong)
    kappa = kappas(3, 0.9)[1]
    written = wrong.fits[0][1] + 0.5
    numpy.testing.assert_allclose(wrong.fits[1][1], written + (1 - kappa) * (teacher * 3 - written), atol=1e-5)


def test_one_stage_is_one_training_on_the_teachers_vectors():
    trainings = Trainings(unit(5, 4, 0))
    Boot(stages=1).run(trainings)
    assert trainings.fits == [("first", None, None)]


def test_words_are_whole_and_in_the_order_of_the_vocabulary():
    assert whole_words(VOCABULARY) == ["the", "of", "run", "cat", "dog", "tree", "sky"]
    assert whole_words(["<s>", "\u2581the", "ing", "\u2581Dog", "\u2581a", "\u2581dog"]) == ["the", "dog"]


def test_random_texts_are_different_and_follow_zipfs_law():
    words = [f"w{place}" for place in range(200)]
    texts = random_texts(words, 3000, 12, 0)
    assert len(set(texts)) == 3000
    lengths = numpy.array([len(text.split()) for text in texts])
    assert (lengths.min(), lengths.max()) == (2, 12)
    counts = numpy.array([sum(text.split().count(word) for text in texts) for word in ("w0", "w9", "w97")])
    expected = numpy.array([1 / 2.7, 1 / 11.7, 1 / 99.7])
    assert counts / counts.sum() == pytest.approx(expected / expected.sum(), abs=0.03)
    assert texts != random_texts(words, 3000, 12, 1)


def test_no_given_text_is_left_and_numbers_and_roles_stay(texts):
    made = Boot().write(texts, Answers(), 0)
    assert sorted(made.roles) == sorted(texts.roles)
    assert not set(made.texts) & set(texts.texts)
    assert set(" ".join(made.texts).split()) <= set(whole_words(VOCABULARY))
    assert (set(made.domains), set(made.labels), made.repeated) == ({"boot"}, {None}, 4)
    assert made.texts == Boot().write(texts, Answers(), 0).texts != Boot().write(texts, Answers(), 1).texts


def test_a_share_keeps_the_other_texts_in_their_order(texts):
    made = Boot(share=0.25).write(texts, Answers(), 0)
    kept = made.texts[:30]
    assert kept == [text for text in texts.texts if text in kept]
    assert set(made.domains[30:]) == {"boot"}
    assert sorted(made.roles) == sorted(texts.roles)


def test_a_generator_writes_without_a_prompt(texts):
    made = Boot(source="bigrams", share=0.5).write(texts, None, 0)
    assert len(made) == 40
    assert all(len(text.split()) > 1 for text in made.texts[20:])
    assert set(" ".join(made.texts[20:]).split()) <= set(" ".join(texts.texts).split())


def test_boot_fills_two_places_of_a_plan_and_is_named_once():
    plan = make_plan(writers=[Boot()])
    assert plan.writer is plan.topology
    assert plan.specs == ["leaf", "boot"]
    with pytest.raises(OptionError, match="both decide the rounds of training"):
        make_plan(methods=["self_distillation"], writers=["boot"])


def test_disabled_boot_needs_nothing(texts):
    off = Boot(**Boot.off)
    assert off.write(texts, None, 0) is texts
    assert off.needs == frozenset()
    assert Boot().needs == {"online", "model"}
    assert Boot(source="bigrams").needs == {"online"}


def test_invalid_options_are_refused(make_setting):
    with pytest.raises(OptionError, match="there is no generator 'other'"):
        Boot(source="other").check(make_setting())
    for field in ({"share": 1.1}, {"longest": 1}, {"stages": 0}, {"start": 1.0}):
        with pytest.raises(OptionError, match=f"boot:{next(iter(field))} is .*; expected"):
            Boot(**field)
