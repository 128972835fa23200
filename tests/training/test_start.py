import numpy
from hypothesis import given
from hypothesis import strategies as st

from leafkit.teachers.open import open_teacher
from leafkit.training.source import teacher_model
from leafkit.training.start import balanced_sample
from leafkit.vectors.cached import cached


@given(st.lists(st.integers(0, 1), min_size=1, max_size=80), st.integers(1, 40))
def test_a_balanced_sample_has_half_of_each_role_if_there_are_enough(roles, most):
    rows = balanced_sample(numpy.array(roles), 2 * most, seed=0)
    taken = [int((numpy.array(roles)[rows] == role).sum()) for role in (0, 1)]
    there = [roles.count(role) for role in (0, 1)]
    assert len(rows) == len(set(rows)) == min(2 * most, len(roles))
    assert all(got >= min(most, has) for got, has in zip(taken, there, strict=True))


def test_the_model_of_a_cached_teacher_is_found(tiny_teacher, tmp_path):
    teacher = open_teacher(tiny_teacher)
    assert teacher_model(teacher) == teacher_model(cached(teacher, tmp_path)) == str(tiny_teacher)


def test_a_teacher_without_a_transformer_has_no_model():
    class BlackBox:
        signals = frozenset({"embeddings"})

    assert teacher_model(BlackBox()) is None
