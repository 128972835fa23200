"""A plan that cannot work is refused before the teacher encodes a text, and leaves nothing behind."""

import dataclasses

import pytest
from torch import nn

from leafkit.errors import InputError, OptionError
from leafkit.methods.method import Objective, Writer
from leafkit.training.run_folder import RunFolder
from leafkit.vectors.store import VectorStore


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picky(Objective):
    """A method that refuses trainings with ``refused`` texts, students of ``shallow`` layers, or its own build."""

    refused: int = 0
    shallow: int = -1
    late: bool = False
    reserving: int = 0
    seen: list = dataclasses.field(default_factory=list)

    def check(self, facts):
        self.seen.append((facts.texts, facts.width, facts.depth, facts.dim, facts.steps))
        if facts.texts == self.refused or facts.depth == self.shallow:
            raise OptionError(f"picky refuses {facts.texts} texts and {facts.depth} layers.")

    def reserve(self, facts):
        return facts.sample(self.reserving)

    def build(self, setting):
        if self.late:
            raise OptionError("picky refuses late.")
        return nn.Module()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Half(Writer):
    """A writer that keeps the first hundred texts."""

    def write(self, texts, ask, seed):
        return texts.choose(range(100))


@pytest.fixture
def refused(planned, distil, tmp_path, monkeypatch):
    """Return a function that distils, expects a refusal, and checks that nothing is left and the next run works."""

    def run(match, *methods, asks=False, **settings):
        with monkeypatch.context() as patched, pytest.raises(OptionError, match=match):
            if not asks:
                patched.setattr(VectorStore, "fill", lambda *_, **__: pytest.fail("the teacher was asked for texts"))
            planned(*methods, **settings)
        assert not any(tmp_path.iterdir())
        distil(epochs=0)

    return run


def test_a_check_refuses_before_the_teacher_encodes_a_text(refused):
    picky = Picky(refused=196)
    refused("picky refuses 196 texts and 2 layers", picky)
    assert picky.seen == [(196, 32, 2, 32, 13)]


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


def test_a_refusal_while_methods_are_built_leaves_nothing_either(refused):
    refused("picky refuses late", Picky(late=True), asks=True)


@pytest.mark.parametrize("reserving", [196, 1000])
def test_a_reserve_that_leaves_no_text_is_refused(reserving, refused):
    refused("picky reserves all 196 texts, so that none is left to train on", Picky(reserving=reserving))


def test_steps_are_checked_again_without_the_reserved_texts(planned):
    picky = Picky(reserving=100)
    planned(picky, epochs=2)
    assert [steps for *_, steps in picky.seen] == [26, 12]


@pytest.mark.parametrize(
    ("message", "settings"),
    [
        ("count is 500; expected 2 to 196 anchors", {"methods": ["pskd:count=500"]}),
        ("lelp:subclasses is 33; expected at most 32", {"methods": ["leaf", "lelp:subclasses=33"]}),
        ("ddk found only one domain with 150 or more texts", {"feeds": ["ddk:least=150"]}),
        ("condense:share is 0.001; expected a share of 196 texts", {"writers": ["condense:share=0.001"]}),
        ("rad:share is 0.005; expected a share of 196 texts", {"feeds": ["rad:share=0.005"]}),
        ("ofa needs layers", {"methods": ["leaf", "ofa:count=8"], "student": "static:dim=8"}),
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
    assert distil(writers=["condense:share=0.01"], epochs=0).training["data"]["training"] == 2


def test_labels_that_a_method_lacks_are_refused_before_the_teacher_encodes(distil, tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(OptionError, match="pskd needs labels"):
        patched.setattr(VectorStore, "fill", lambda *_, **__: pytest.fail("the teacher was asked for texts"))
        distil(methods=["pskd:anchors=labels"])
    assert not any(tmp_path.iterdir())
    assert distil(methods=["pskd:count=4"], epochs=1).training["methods"] == ["pskd:count=4"]


@pytest.mark.parametrize("made", ["start", "architecture", "checkpoints"])
def test_a_refusal_removes_what_was_prepared_and_never_a_checkpoint(made, tmp_path):
    folder = RunFolder.of_output(tmp_path / "student")
    for error in (KeyboardInterrupt, OptionError):
        with pytest.raises(error), folder.locked():
            folder.claim({"epochs": 1})
            (folder.path / made).mkdir(exist_ok=True)
            raise error
        assert folder.path.exists() == (error is KeyboardInterrupt or made == "checkpoints")
