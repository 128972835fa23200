"""A plan that cannot work is refused before the teacher encodes a text, and leaves nothing behind."""

import dataclasses

import numpy
import pytest
from torch import nn

from leafkit.errors import InputError, OptionError
from leafkit.methods.method import Objective, Writer
from leafkit.methods.objectives.mst import Mst
from leafkit.methods.objectives.swing import Swing
from leafkit.methods.plan import Plan
from leafkit.training.facts import plan_draw, training_facts
from leafkit.training.recipe import Recipe
from leafkit.training.run_folder import RunFolder
from leafkit.vectors.store import VectorStore


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picky(Objective):
    """A method that refuses trainings with ``refused`` texts, students of ``shallow`` layers, or its own build."""

    refused: int = 0
    shallow: int = -1
    steps: int = -1
    late: bool = False
    reserving: int = 0
    seen: list = dataclasses.field(default_factory=list)

    def check(self, facts):
        self.seen.append((facts.texts, facts.width, facts.depth, facts.dim, facts.steps))
        if facts.texts == self.refused or facts.depth == self.shallow:
            raise OptionError(f"picky refuses {facts.texts} texts and {facts.depth} layers.")

        if facts.steps == self.steps:
            raise OptionError(f"picky refuses {facts.steps} steps.")

    def reserve(self, facts):
        return facts.sample(self.reserving)

    def build(self, setting):
        if self.late:
            raise OptionError("picky refuses late.")
        return nn.Module()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keeping(Objective):
    """A method that reserves the given rows."""

    rows: tuple

    def reserve(self, facts):
        return numpy.array(self.rows)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Half(Writer):
    """A writer that keeps the first hundred texts."""

    def write(self, texts, ask, seed):
        return texts.choose(range(100))


@pytest.fixture
def make_facts():
    """Make the facts of a training on some texts."""

    def make(texts):
        rows = numpy.arange(texts)
        pairs = rows[:0].reshape(0, 2)
        return training_facts(
            Recipe(), dim=2, width=2, depth=1, roles=rows, labels=rows, domains=rows, pairs=pairs, texts_of=None
        )

    return make


@pytest.fixture
def refused(planned, tmp_path, monkeypatch):
    """Return a function that distils, expects a refusal, and checks that nothing is left."""

    def run(match, *methods, asks=False, error=OptionError, **settings):
        with monkeypatch.context() as patched, pytest.raises(error, match=match):
            if not asks:
                patched.setattr(VectorStore, "fill", lambda *_, **__: pytest.fail("the teacher was asked for texts"))
            planned(*methods, **settings)
        assert not any(tmp_path.iterdir())

    return run


def test_a_check_refuses_before_the_teacher_encodes_a_text_and_blocks_no_later_run(refused, distil):
    picky = Picky(refused=196)
    refused("picky refuses 196 texts and 2 layers", picky)
    assert picky.seen == [(196, 32, 2, 32, 13)]
    distil(epochs=0)


@pytest.mark.parametrize(
    ("student", "width", "depth"), [("static:dim=8", 8, 0), ("teacher:layers=3,pick=greedy", 32, 3)]
)
def test_sizes_are_known_before_a_student_is_built_or_its_layers_are_picked(student, width, depth, refused):
    picky = Picky(shallow=depth)
    refused(f"196 texts and {depth} layers", picky, student=student)
    assert picky.seen[0][1:3] == (width, depth)


def test_what_a_writer_leaves_is_checked_as_well(refused):
    picky = Picky(refused=100)
    refused("picky refuses 100 texts", picky, Half(), asks=True)
    assert [texts for texts, *_ in picky.seen] == [196, 100]


def test_what_a_search_finds_is_checked_as_well(refused, monkeypatch):
    search = {"student": None, "architecture": "diswot:population=1,cycles=0", "budget": "100k params"}
    picky = Picky(shallow=1)
    monkeypatch.setattr("leafkit.methods.architectures.diswot.HIDDEN", (32,))
    monkeypatch.setattr("leafkit.methods.architectures.diswot.Shape.mutated", lambda shape, _: shape)
    refused("196 texts and 1 layers", picky, asks=True, **search)
    assert [depth for _, _, depth, *_ in picky.seen][1:] == [1]


def test_what_methods_need_of_the_texts_is_checked_before_the_teacher_encodes_one(refused):
    # With rarity, no two of these texts have the same score.
    refused("swing finds only 1 of 196 texts", Swing(rarity=0.5, reduction="mean"))


def test_a_teacher_that_a_method_names_and_nobody_knows_is_refused_before_the_teacher_encodes_a_text(refused):
    refused("/nowhere/teacher does not exist", Mst(count=8, others="/nowhere/teacher"), error=InputError)


def test_a_refusal_while_methods_are_built_leaves_nothing_either(refused):
    refused("picky refuses late", Picky(late=True), asks=True)


def test_a_reserve_that_leaves_no_text_is_refused_after_a_check_of_all_texts(refused):
    picky = Picky(reserving=1000)
    refused("picky reserves all 196 texts, so that none is left to train on", picky, epochs=2)
    assert [steps for *_, steps in picky.seen] == [26]


def test_steps_are_checked_again_without_the_reserved_texts(refused):
    picky = Picky(reserving=100, steps=12)
    refused("picky refuses 12 steps", picky, epochs=2)
    assert [steps for *_, steps in picky.seen] == [26, 12]


@pytest.mark.parametrize(("rows", "drawn"), [(None, [2, 3, 5]), ([1, 3, 4, 5], [3, 5]), ([0, 1], [])])
def test_steps_draw_the_rows_of_a_fit_that_no_method_reserves(rows, drawn, make_facts):
    plan = Plan(step_methods={"one": Keeping(rows=(0, 1)), "two": Keeping(rows=(1, 4))}, probes={})
    rows = rows and numpy.array(rows)
    if not drawn:
        with pytest.raises(OptionError, match="one and two reserve all 2 texts"):
            plan_draw(plan, Recipe(), make_facts(6), rows)
        return
    draw = plan_draw(plan, Recipe(batch_size=2), make_facts(6), rows)
    assert draw.rows.tolist() == drawn
    assert {name: rows.tolist() for name, rows in draw.reserved.items()} == {"one": [0, 1], "two": [1, 4]}
    assert (draw.facts.steps, draw.facts.texts) == (-(-len(drawn) // 2), 6)


def test_a_method_that_reserves_a_row_that_does_not_exist_raises(make_facts):
    for row in (-1, 6):
        plan = Plan(step_methods={"one": Keeping(rows=(row,))}, probes={})
        with pytest.raises(IndexError, match="one reserves texts outside the 6 training texts"):
            plan_draw(plan, Recipe(), make_facts(6))


@pytest.mark.parametrize(
    ("message", "settings"),
    [
        ("count is 500; expected 2 to 196 anchors", {"methods": ["pskd:count=500"]}),
        ("lelp:subclasses is 33; expected at most 32", {"methods": ["leaf", "lelp:subclasses=33"]}),
        ("ddk found only one domain with 150 or more texts", {"feeds": ["ddk:least=150"]}),
        ("condense:share is 0.001; expected a share of 196 texts", {"writers": ["condense:share=0.001"]}),
        ("pskd needs labels", {"methods": ["pskd:anchors=labels"]}),
    ],
)
def test_installed_methods_refuse_before_the_teacher_encodes_a_text(message, settings, distil, tmp_path, monkeypatch):
    monkeypatch.setattr(VectorStore, "fill", lambda *_, **__: pytest.fail("the teacher was asked for texts"))
    with pytest.raises(OptionError, match=message):
        distil(**settings)
    assert not any(tmp_path.iterdir())


def test_another_teacher_that_does_not_exist_leaves_nothing(distil, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        distil(methods=["leaf", "mst:others=nowhere,count=8,sample=0"])
    assert not any(tmp_path.iterdir())


def test_a_writer_is_not_asked_about_the_texts_that_it_made(distil):
    data = distil(writers=["condense:share=0.01,mode=random"], epochs=0, head="random").training["data"]
    assert (data["training"], data["asked"]) == (2, 2)


@pytest.mark.parametrize("made", ["start", "architecture", "checkpoints"])
def test_a_refusal_removes_what_was_prepared_and_never_a_checkpoint(made, tmp_path):
    folder = RunFolder.of_output(tmp_path / "student")
    for error in (KeyboardInterrupt, OptionError):
        with pytest.raises(error), folder.locked():
            folder.claim({"epochs": 1})
            (folder.path / made).mkdir(exist_ok=True)
            raise error
        assert folder.path.exists() == (error is KeyboardInterrupt or made == "checkpoints")
