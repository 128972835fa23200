"""The margin of fingerprints on a tiny model: copies and changes are told apart."""

from eval.fingerprints import CHANGE, COPY, Row, copies, measure, table
from leafkit.teachers.open import open_teacher


def test_copies_are_on_the_right_side_and_the_table_names_what_is_not(tiny_teacher):
    rows = list(measure("tiny", open_teacher(tiny_teacher, compute="float32"), copies(open_teacher(tiny_teacher))))
    assert len(rows) == 4
    assert all(row.kind == COPY and row.correct for row in rows)
    wrong = Row(model="tiny", kind=CHANGE, version="nothing", cosine=1.0, length=1.0, text="x")
    assert "(wrong side)" not in table(rows)
    assert "| change | nothing | 1.00000 (wrong side) |" in table([*rows, wrong])
