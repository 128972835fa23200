"""Whether scores order students: taus by hand, and a tiny field from the recipe to the result file."""

import json

import numpy
import pytest
import scipy.stats
from typer import Typer
from typer.testing import CliRunner

from eval import architectures
from eval.architectures import agreement, draw_shapes, table
from leafkit.errors import OptionError

COSINES = [0.1, 0.2, 0.3, 0.4]


def test_taus_by_hand():
    scores = {"score": [1, 2, 3, 4], "reversed": [4, 3, 2, 1], "parameters": [1, 2, 4, 3], "constant": [5, 5, 5, 5]}
    found = agreement(scores, COSINES, seed=0)
    # of six pairs of students, parameters order one the other way around
    assert {name: one["tau"] for name, one in found.items()} == pytest.approx(
        {"score": 1, "reversed": -1, "parameters": 4 / 6, "constant": 0}
    )
    assert found["score"]["above parameters"]["tau"] == pytest.approx(2 / 6)
    assert found["parameters"]["above parameters"] == {"tau": 0, "low": 0, "high": 0}
    for one in found.values():
        assert one["low"] <= one["tau"] <= one["high"]
    assert "+0.67" in table(found)


def test_taus_are_those_of_scipy_and_0_where_all_drawn_students_are_equal():
    random = numpy.random.default_rng(0)
    left, right, draws = random.integers(4, size=9), random.integers(4, size=9), random.integers(9, size=(50, 9))
    wanted = [scipy.stats.kendalltau(left[rows], right[rows]).statistic for rows in draws]
    assert numpy.isnan(wanted).any()
    assert architectures._taus(left, right, draws) == pytest.approx(numpy.nan_to_num(wanted))


def test_drawn_shapes_differ_fit_the_budget_and_are_reproducible():
    def fits(shape):
        return shape.layers * shape.hidden <= 96

    found = draw_shapes(12, fits, 3)
    assert len(set(found)) == 12
    assert all(map(fits, found))
    assert found == draw_shapes(12, fits, 3)
    assert found != draw_shapes(12, fits, 4)


def test_too_few_shapes_within_the_budget_raise_an_error():
    with pytest.raises(OptionError, match="found 4 students within the budget; expected 5"):
        draw_shapes(5, lambda shape: (shape.layers, shape.hidden, shape.heads) == (1, 32, 1), 0)


@pytest.fixture
def run(tmp_path, tiny_teacher, tiny_texts):
    """Run the command on a recipe with given last lines; gives its result and the file it was to write."""

    def call(lines, count=3):
        recipe = tmp_path / "recipe.toml"
        base = f'texts = ["{tiny_texts}"]\nteacher = "{tiny_teacher}"\nepochs = 1\nbatch_size = 64\n'
        recipe.write_text(base + "\n".join(lines) + "\n")
        app = Typer()
        app.command()(architectures.main)
        where = {"--recipe": recipe, "--out": tmp_path / "out.json", "--work": tmp_path / "work"}
        where |= {"--cache": tmp_path / "cache", "--count": count}
        return CliRunner().invoke(app, [str(part) for pair in where.items() for part in pair]), tmp_path / "out.json"

    return call


def test_students_are_distilled_once_and_reported_with_their_origin(run, monkeypatch):
    lines = ['architecture = "diswot:inits=1,batches=1"', 'budget = "40k params, 1 ms"']
    result, out = run(lines)
    assert result.exit_code == 0, (result.output, result.exception)
    content = json.loads(out.read_bytes())
    assert len(content["students"]) == 3
    for student in content["students"]:
        assert student["parameters"] <= 40_000
        assert student["score"] == student["relation"] + student["semantic"]
        assert -1 <= student["cosine"] <= 1
    assert set(content["agreement"]) == {"score", "relation", "semantic", "parameters"}
    assert {"recipe", "seed", "command", "commit", "packages"} <= set(content)
    monkeypatch.setattr(architectures, "distill", lambda **_: pytest.fail("a finished student was trained again"))
    run(lines)
    assert json.loads(out.read_bytes())["students"] == content["students"]


@pytest.mark.parametrize(
    "lines", [[], ['architecture = "diswot"', 'budget = "1 ms"'], ['student = "teacher:layers=1"']]
)
def test_a_recipe_without_a_search_or_a_size_raises_an_error(run, lines):
    result, out = run(lines)
    assert isinstance(result.exception, OptionError)
    assert not out.exists()
