"""The coverage table: methods in the categories of the survey, with its gaps."""

import torch

from leafkit.methods.coverage import ALGORITHMS, ELICITATIONS, SKILLS, VERTICALS, coverage
from leafkit.methods.method import Objective, Probe
from leafkit.methods.objectives.leaf import Leaf


class Ranks(Objective):
    elicits = ("labeling", "feedback")
    learns_by = ("rank optimization", "reinforcement learning")
    skills = ("preference",)
    verticals = ("law",)


class Watches(Probe):
    pass


def test_a_method_stands_in_every_pair_of_its_elicitations_and_algorithms():
    covered = coverage({"ranks": Ranks, "watches": Watches})
    full = {pair for pair, names in covered.cells.items() if names}
    assert full == {(one, other) for one in Ranks.elicits for other in Ranks.learns_by}
    assert set(covered.cells) == {(one, other) for one in ELICITATIONS for other in ALGORITHMS}
    assert covered.cells["feedback", "rank optimization"] == ("ranks",)
    assert covered.skills["preference"] == covered.verticals["law"] == ("ranks",)
    assert covered.outside == ("watches",)


def test_what_no_method_covers_is_a_gap():
    gaps = coverage({"ranks": Ranks}).gaps
    assert gaps["elicitation"] == ("expansion", "curation", "feature", "self-knowledge")
    assert gaps["algorithm"] == ("supervised fine-tuning", "divergence and similarity")
    assert "preference" not in gaps["skill"]
    assert gaps["vertical"] == ("medicine", "finance", "science", "misc")
    assert coverage({}).gaps["elicitation"] == tuple(ELICITATIONS)


def test_the_taxonomy_has_the_cells_of_the_survey():
    assert (len(ELICITATIONS), len(ALGORITHMS), len(SKILLS), len(VERTICALS)) == (6, 4, 5, 5)


def test_no_row_or_column_of_the_survey_is_empty_but_the_one_that_needs_a_generator():
    gaps = coverage().gaps
    assert set(gaps["elicitation"]) <= {"expansion"}
    assert gaps["algorithm"] == ()
    assert not {"information retrieval", "understanding"} & set(gaps["skill"])


def test_the_json_has_every_cell_and_gap():
    shown = coverage({"ranks": Ranks}).to_json()
    assert len(shown["cells"]) == 24
    assert {"elicitation": "labeling", "algorithm": "rank optimization", "methods": ["ranks"]} in shown["cells"]
    assert shown["gaps"]["vertical"] == ["medicine", "finance", "science", "misc"]


def test_the_squared_distance_of_unit_vectors_is_2_minus_2_cosines(make_batch):
    batch = make_batch(dtype=torch.float64)
    (squared,) = Leaf(distance="squared").terms(batch, None).values()
    cosine = (batch.student * batch.teacher).sum(dim=-1)
    torch.testing.assert_close(squared, 2 - 2 * cosine, rtol=1e-6, atol=1e-6)
