"""The setting of a training, restricted to some texts."""

from __future__ import annotations

import numpy


def test_a_restricted_setting_has_only_its_rows(make_setting):
    setting, rows = make_setting(), numpy.array([3, 50, 119])
    small = setting.restricted(rows)
    assert small.texts == 3
    assert small.labels.tolist() == [3, 2, 3]
    assert small.domains.tolist() == [0, 0, 1]
    assert small.lengths.tolist() == [6, 3, 7]
    assert numpy.array_equal(small.targets(numpy.array([2, 0])), setting.targets(numpy.array([119, 3])))
    assert numpy.array_equal(small.other_teacher("other")(numpy.array([2])), setting.other_teacher("")(rows[2:]))
    assert numpy.array_equal(small.student(numpy.array([1])), setting.student(numpy.array([50])))


def test_withheld_rows_are_not_drawn_and_a_restricted_setting_draws_all_of_its_rows(make_setting):
    setting = make_setting(withheld=numpy.array([0, 50]))
    assert setting.drawn.tolist() == [row for row in range(120) if row not in (0, 50)]
    assert setting.restricted(numpy.array([50, 51])).drawn.tolist() == [0, 1]
