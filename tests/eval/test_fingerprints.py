"""The margin of fingerprints on a tiny model: copies and changes are told apart."""

import pytest

from eval.fingerprints import CHANGE, COPY, Row, changes, copies, measure, table, tunings
from leafkit.teachers.open import open_teacher


@pytest.fixture(scope="module")
def teacher(tiny_teacher):
    return open_teacher(tiny_teacher, compute="float32")


def test_copies_are_accepted_and_changes_refused(teacher):
    rows = {row.version: row for row in measure("tiny", teacher, copies(teacher))}
    assert len(rows) == 4
    assert all(row.kind == COPY and row.accepted for row in rows.values())
    changed = {row.version: row for row in measure("tiny", teacher, changes(teacher))}
    switched = "not normalised" if teacher.space.normalised else "normalised"
    assert not any(changed[version].accepted for version in ("another prompt", "another pooling", switched))


def test_a_fine_tuning_goes_on_from_the_state_that_was_measured(teacher):
    one, five = measure("tiny", teacher, tunings(teacher, most_steps=6))
    assert (one.version, five.version) == ("step 1 of a fine-tuning", "step 5 of a fine-tuning")
    assert 1 > one.cosine > five.cosine


def test_the_table_names_what_the_bound_decides_wrongly():
    def row(kind, cosine, length=1.0):
        return Row(model="tiny", kind=kind, version=f"{kind} {cosine}", cosine=cosine, length=length, text="x")

    lines = table([row(COPY, 1.0), row(COPY, 0.9), row(CHANGE, 0.9), row(CHANGE, 1.0), row(CHANGE, 0.99999, 0.5)])
    assert [line.split(" | ")[-1].removesuffix(" |") for line in lines.splitlines()[2:]] == [
        "1.00000",
        "0.90000 (refused)",
        "0.90000",
        "1.00000 (accepted)",
        "0.99999, length 0.50",
    ]
