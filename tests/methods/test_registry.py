"""Methods are found by the names of their files, leafkit's own and those of other packages."""

import sys

import pytest

import leafkit
from leafkit.errors import OptionError
from leafkit.methods.objectives.leaf import Leaf
from leafkit.methods.registry import FOLDERS, method_class, method_folders, method_spec, parse_method
from leafkit.students.folder import read_student
from tests.fixtures.processes import start_process

SYSTEM = '''
"""Half of the distance.

Paper: https://example.org/halves
"""

from dataclasses import dataclass
from typing import ClassVar

from leafkit.methods.method import Objective


@dataclass(frozen=True, kw_only=True)
class Halves(Objective):
    """Half of the distance between student and teacher."""

    paper: ClassVar[str] = "https://example.org/halves"

    share: float = 0.5

    def terms(self, batch, state):
        return {"halves": self.share * (batch.student - batch.teacher).norm(dim=-1)}
'''


def test_every_name_has_one_class_and_a_folder():
    assert method_class("leaf") is Leaf
    assert set(method_folders().values()) <= set(FOLDERS)
    assert parse_method("leaf:distance=squared,weight=0.5") == Leaf(distance="squared", weight=0.5)
    assert parse_method(Leaf()) == Leaf()
    assert method_spec(Leaf(distance="cosine")) == "leaf:distance=cosine"


def test_an_invalid_choice_is_answered_with_the_nearest():
    with pytest.raises(OptionError, match="did you mean 'norm'"):
        parse_method("leaf:distance=nrom")


def test_another_package_adds_a_method_by_an_entry_point(tmp_path, tiny_texts, tiny_teacher):
    (tmp_path / "halving").mkdir()
    (tmp_path / "halving" / "__init__.py").touch()
    (tmp_path / "halving" / "halves.py").write_text(SYSTEM)
    facts = tmp_path / "halving-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: halving\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[leafkit.methods]\nobjectives.halves = halving.halves:Halves\n")
    training = (str(tiny_texts), str(tiny_teacher), "teacher:layers=2", str(tmp_path / "out"))
    process = start_process(tmp_path / "errors", train_with_the_other_package, str(tmp_path), training)
    process.join()
    assert process.exitcode == 0, (tmp_path / "errors").read_text()
    assert read_student(tmp_path / "out").training["methods"] == ["leaf", "halves:share=0.25"]


def train_with_the_other_package(folder, training):
    sys.path.insert(0, folder)
    assert method_folders()["halves"] == "objectives"
    leafkit.distill(*training, methods=["leaf", "halves:share=0.25"], export=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("halves", r"adds the entry point .halves.*expected FOLDER\.NAME"),
        ("objectives.mixup", r"adds the entry point 'objectives\.mixup'.*feeds already has a method mixup"),
    ],
)
def test_an_entry_point_without_a_folder_or_with_a_taken_name_is_refused(name, message, monkeypatch):
    from importlib.metadata import EntryPoint

    from leafkit.methods import registry

    method_folders.cache_clear()
    point = EntryPoint(name=name, value="halving.halves:Halves", group=registry.GROUP)
    monkeypatch.setattr(registry, "_entry_points", lambda: [point])
    try:
        with pytest.raises(OptionError, match=message):
            method_folders()
    finally:
        method_folders.cache_clear()
