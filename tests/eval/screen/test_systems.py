"""The table of the screen: every row names methods, fields and systems that exist."""

from types import SimpleNamespace

import pytest

from eval.screen.starts import has_own_start, start_key
from eval.screen.study import make_arm, method_options
from eval.screen.systems import LEAF, PULL, PULLS, missing_systems, read_systems
from leafkit.errors import OptionError
from leafkit.methods.plan import make_plan
from leafkit.methods.registry import method_class, method_folders
from leafkit.training.recipe import Recipe


@pytest.fixture
def table(tmp_path):
    """Write a table of systems and return its path."""

    def write(text):
        path = tmp_path / "systems.toml"
        path.write_text('[leaf]\nmethod = ""\n' + text)
        return path

    return write


def test_every_arm_of_the_table_is_a_plan_that_can_be_made():
    for system in read_systems().values():
        for student in system.students:
            for dose in system.doses or (None,):
                weight = 0.5 if system.dose == PULL and dose else None
                options = make_arm(system, student, texts=system.texts, dose=dose, weight=weight).options
                plan = {name: options[name] for name in ("methods", "feeds", "writers") if name in options}
                assert make_plan(**plan).methods
                assert ("architecture" in options) == (student == "searched")


def test_every_system_is_compared_with_leaf_or_with_a_control_that_is_told_the_same():
    systems = read_systems()
    for system in systems.values():
        baselines = [systems[name] for name in system.baselines]
        assert baselines or not system.is_method
        if system.texts != "plain" and system.is_method:
            assert baselines[0].texts == system.texts
        if system.texts == "labels" and system.is_method:
            assert baselines[0].fixed.get("anchors") == "labels"


def test_a_row_without_more_is_the_method_of_its_name_with_doses_by_pull(table):
    system = read_systems(table("[sinkd]\n"))["sinkd"]
    assert (system.method, system.dose, system.doses, system.baselines) == ("sinkd", PULL, PULLS, (LEAF,))
    assert system.is_method
    assert not read_systems(table('[kl]\nmethod = "taid"\n'))["kl"].is_method


def test_a_dose_is_a_field_or_a_weight(table):
    systems = read_systems(
        table('[condense]\nfixed = {mode = "omp"}\ndose = "share"\nepochs_times_dose = 1\n[sinkd]\n')
    )
    arm = make_arm(systems["condense"], "table", texts="plain", dose=0.25)
    assert arm.options == {"writers": ["condense:mode=omp,share=0.25"], "epochs": 4}
    pulled = make_arm(systems["sinkd"], "table", texts="plain", dose=0.3, weight=0.02)
    assert pulled.options == {"methods": ["leaf", "sinkd:weight=0.02"]}
    assert (arm.name, pulled.name) == ("table-plain-condense-0.25", "table-plain-sinkd-0.3")
    assert make_arm(systems["leaf"], "picked", texts="plain").options == {}


def test_fields_can_differ_by_student(table):
    system = read_systems(table("[ofa]\ntable = {stages = 0}\n"))["ofa"]
    assert make_arm(system, "table", texts="plain", dose=1, weight=1).specs[-1] == "ofa:stages=0,weight=1"
    assert make_arm(system, "picked", texts="plain", dose=1, weight=1).specs[-1] == "ofa:weight=1"


def test_truth_values_are_written_as_specs_take_them():
    assert method_options("taid", {"adaptive": False}) == {"methods": ["leaf", "taid:adaptive=false"]}
    assert method_options("ddk", {}) == {"feeds": ["ddk"]}
    assert method_options("swing", {"spread": 2}, alone=True) == {"methods": ["swing:spread=2"]}
    assert method_options("diswot", {"inits": 2}) == {"architecture": "diswot:inits=2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sinkt]\n", "sinkt: there is no method 'sinkt'; did you mean 'sinkd'"),
        ("[sinkd]\nfixed = {blurr = 1}\n", "there is no field of the method 'blurr'; did you mean 'blur'"),
        ('[sinkd]\ntext = "plain"\n', "there is no field 'text'; did you mean 'texts'"),
        ('[sinkd]\ntexts = "label"\n', "there is no text set 'label'"),
        ('[sinkd]\nsituations = ["few text"]\n', "there is no situation 'few text'; did you mean 'few texts'"),
        ('[sinkd]\nbaselines = ["lead"]\n', "there is no system 'lead'; did you mean 'leaf'"),
        ('[condense]\ndose = "shared"\ndoses = [1]\n', "there is no field of the method 'shared'"),
    ],
)
def test_a_mistake_in_the_table_is_named(table, text, message):
    with pytest.raises(OptionError, match=message):
        read_systems(table(text))


def test_methods_without_a_row_are_listed_but_probes_need_none():
    missing = missing_systems({})
    assert {"leaf", "condense"} <= set(missing)
    assert all(method_folders()[name] != "probes" for name in missing)


def test_only_methods_that_limit_or_write_texts_have_starts_of_their_own():
    own = {name for name in ("leaf", "pcoreset", "rad", "comd", "condense") if has_own_start(method_class(name)())}
    assert own == {"pcoreset", "rad", "condense"}


def test_students_that_other_searches_find_do_not_start_alike():
    recipe = Recipe(seed=0)
    searches = [("diswot", "2M params"), ("diswot:cycles=0", "2M params"), ("diswot", "1M params")]
    runs = [
        SimpleNamespace(
            student=None, architecture=search, budget=budget, recipe=recipe, plan=SimpleNamespace(specs=[], methods=[])
        )
        for search, budget in searches
    ]
    assert len({start_key(run, []) for run in runs}) == len(runs)
    assert start_key(runs[0], []) == start_key(runs[0], [])
