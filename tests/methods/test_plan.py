"""Which methods work together in one plan, and the error for those that do not."""

import pytest

from leafkit.errors import OptionError
from leafkit.methods.plan import make_plan


def test_leaf_is_added_without_an_objective():
    assert make_plan().specs == ["leaf"]
    assert make_plan(["fidelity"]).specs == ["leaf", "fidelity"]
    assert make_plan().is_plain_leaf
    assert not make_plan(["leaf", "sinkd"]).is_plain_leaf


def test_a_plan_prints_every_part():
    plan = make_plan(
        ["leaf", "sinkd:weight=0.1", "self_distillation", "fidelity"], ["ddk:every=50"], ["condense:share=0.5"]
    )
    assert list(plan.step_methods) == ["leaf", "sinkd", "ddk"]
    printed = str(plan).splitlines()
    assert printed == [
        "  loss    1 x leaf + 0.1 x sinkd:weight=0.1",
        "  texts   condense:share=0.5",
        "  feed    ddk:every=50",
        "  rounds  self_distillation",
        "  probes  fidelity",
    ]
    assert plan.specs == [
        "leaf",
        "sinkd:weight=0.1",
        "ddk:every=50",
        "self_distillation",
        "condense:share=0.5",
        "fidelity",
    ]


def test_mst_works_together_with_a_topology():
    plan = make_plan(["leaf", "mst", "self_distillation"])
    assert list(plan.step_methods) == ["leaf", "mst"]
    assert plan.topology is not None


@pytest.mark.parametrize(
    ("methods", "feeds", "error"),
    [
        (["leaf", "leaf:weight=2"], [], "leaf is given twice"),
        (["sinkd"], [], "sinkd cannot train alone.*Add leaf"),
        (["leaf:weight=0"], [], "every objective has weight 0"),
        (["leaf:weight=-1"], [], "leaf:weight is -1; expected 0 or more"),
        (["leaf", "taid", "pskd"], [], "taid and pskd both move the target"),
        (["leaf", "pskd"], ["mixup"], "pskd stores what it knows of each text, but mixup mixes texts"),
        (["adpa"], ["mixup"], "adpa stores what it knows of each text"),
        (["first:anchors=pairs"], ["mixup"], "first stores what it knows of each text"),
        (["pld:anchors=pairs"], ["mixup"], "pld stores what it knows of each text"),
        (["tgeo:truth=pairs"], ["mixup"], "tgeo stores what it knows of each text"),
        (["laef"], [], "no method 'laef'; did you mean 'leaf'"),
        (["leaf:distnce=norm"], [], "no field 'distnce'; did you mean 'distance'"),
        (["leaf:weight=much"], [], "leaf:weight is 'much'; expected a number"),
        (["mixup:relation=maybe"], [], "mixup:relation is 'maybe'; expected true or false"),
        (["leaf:weight"], [], "cannot read 'weight' in 'leaf:weight'; expected NAME:FIELD=VALUE"),
        (["leaf:weight=1,weight=2"], [], "gives weight twice"),
    ],
)
def test_methods_that_cannot_work_together_are_refused(methods, feeds, error):
    with pytest.raises(OptionError, match=error):
        make_plan(methods, feeds)


@pytest.mark.parametrize(
    ("option", "name", "right"),
    [
        ("methods", "ddk", r"ddk is a feed.*Use `feeds` \(--feed\)"),
        ("methods", "condense", r"condense is a writer.*Use `writers` \(--writer\)"),
        ("methods", "diswot", r"diswot is an architecture.*Use `architecture` \(--architecture\)"),
        ("feeds", "condense", r"condense is a writer, which `feeds` \(--feed\) does not.*Use `writers` \(--writer\)"),
        ("feeds", "sinkd", r"sinkd is an objective.*Use `methods` \(--method\)"),
        ("feeds", "self_distillation", r"self_distillation is a topology.*Use `methods` \(--method\)"),
        ("writers", "mixup", r"mixup is a feed, which `writers` \(--writer\).*Use `feeds` \(--feed\)"),
        ("writers", "fidelity", r"fidelity is a probe.*Use `methods` \(--method\)"),
    ],
)
def test_a_method_under_the_wrong_option_is_refused_with_the_right_one(option, name, right):
    with pytest.raises(OptionError, match=right):
        make_plan(**{option: [name]})


def test_a_missing_signal_is_named_with_its_remedy():
    with pytest.raises(OptionError, match=r"ddk needs domains, but this training has none\. Provide .*several files"):
        make_plan(["leaf"], ["ddk"]).check_needs(frozenset({"embeddings", "layers"}))
