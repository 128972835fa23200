"""Which systems can work together, and what is said of those that cannot."""

import pytest

from leafkit.errors import OptionError
from leafkit.methods.plan import make_plan


def test_without_an_objective_leaf_is_the_one():
    assert make_plan().specs == ["leaf"]
    assert make_plan(["fidelity"]).specs == ["leaf", "fidelity"]
    assert make_plan().plain
    assert not make_plan(["leaf", "sinkd"]).plain


def test_objectives_feeds_and_rounds_make_one_plan_which_prints_itself():
    plan = make_plan(["leaf", "sinkd:weight=0.1", "mst"], ["ddk:every=50"])
    assert list(plan.methods) == ["leaf", "sinkd", "mst", "ddk"]
    printed = str(plan)
    assert "1 x leaf + 0.1 x sinkd:weight=0.1" in printed
    assert "feed       ddk:every=50" in printed
    assert "rounds     mst" in printed
    assert make_plan(plan.specs).specs == plan.specs


@pytest.mark.parametrize(
    ("methods", "feeds", "why"),
    [
        (["leaf", "leaf:weight=2"], [], "leaf is given twice"),
        (["sinkd"], [], "sinkd does not know which text is which.*add leaf"),
        (["leaf:weight=0"], [], "nothing to learn"),
        (["leaf:weight=-1"], [], "weight is -1; wanted 0 or more"),
        (["leaf", "taid", "pskd"], [], "taid and pskd each move the target"),
        (["leaf", "mst", "self_distillation"], [], "each decide on the rounds"),
        (["leaf"], ["sinkd"], "sinkd of objectives feeds nothing"),
        (["diswot"], [], "diswot takes no part in training; give it as architecture"),
        (["laef"], [], "no method 'laef'; did you mean 'leaf'"),
        (["leaf:distnce=norm"], [], "no field 'distnce'; did you mean 'distance'"),
        (["leaf:weight=much"], [], "'much'; wanted a number"),
        (["leaf:weight"], [], "wanted NAME:FIELD=VALUE"),
        (["leaf:weight=1,weight=2"], [], "gives weight twice"),
    ],
)
def test_nonsense_is_refused_with_a_reason(methods, feeds, why):
    with pytest.raises(OptionError, match=why):
        make_plan(methods, feeds)


def test_a_missing_signal_is_named_with_its_remedy():
    with pytest.raises(OptionError, match=r"ddk needs domains.*several files"):
        make_plan(["leaf"], ["ddk"]).check(frozenset({"embeddings", "layers"}))
