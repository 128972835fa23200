"""The harness of studies: every run is made once, and its file decides what is made again."""

from __future__ import annotations

import json
import multiprocessing
import time
from dataclasses import dataclass, field

import pytest

from leafkit.evaluation.compare.study import Study


@dataclass(frozen=True)
class Named:
    name: str
    random: bool = True


@dataclass(kw_only=True)
class Counted(Study[Named]):
    """A study that trains nothing and records what it was asked for."""

    version: int = 0
    made: list = field(default_factory=list)

    def key(self, variant, seed):
        return f"v{self.version}"

    def seed_used(self, variant, seed):
        return seed if variant.random else self.seeds[0]

    def train_and_measure(self, variant, seed, student):
        self.made.append((variant.name, seed))
        student.mkdir()
        student.with_name(f".{student.name}.run").mkdir()
        (student.parent / f"{student.name}-trial.json").touch()
        return {"seed": seed, "seconds": 0.0, "figure": 10 * seed + len(variant.name)}


@pytest.fixture
def study(tmp_path):
    def make(**options):
        variants = [Named("base"), Named("other"), Named("fixed", random=False)]
        return Counted(variants=variants, seeds=[3, 4], work=tmp_path / "work", cache=tmp_path, **options)

    return make


def test_every_run_is_made_once_and_returned_in_the_order_of_the_seeds(study):
    first, again = study(), study()
    runs = first.run()
    assert first.made == [("base", 3), ("other", 3), ("fixed", 3), ("base", 4), ("other", 4)]
    assert [run["figure"] for run in runs["base"]] == [34, 44]
    assert again.run() == runs
    assert again.made == []


def test_a_variant_without_randomness_has_the_same_run_for_every_seed(study):
    runs = study().run()["fixed"]
    assert [run["seed"] for run in runs] == [3, 4]
    assert {run["figure"] for run in runs} == {35}


def test_another_key_or_a_deleted_file_is_made_again(study):
    study().run()
    changed = study(version=1)
    changed.run([changed.variants[1]])
    assert changed.made == [("other", 3), ("other", 4)]
    (changed.work / "runs" / "base-seed4-v0.json").unlink()
    repeated = study()
    repeated.run()
    assert repeated.made == [("base", 4)]


def test_students_and_their_files_are_removed_after_the_run_is_written(study):
    done = study()
    done.run()
    assert not list((done.work / "students").iterdir())


def test_a_failed_run_leaves_no_file_and_keeps_its_student(study, monkeypatch):
    broken = study()

    def fail(variant, seed, student):
        student.mkdir()
        raise RuntimeError("stopped")

    monkeypatch.setattr(broken, "train_and_measure", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        broken.run()
    assert not list((broken.work / "runs").iterdir())
    assert [path.name for path in (broken.work / "students").iterdir()] == ["base-seed3-v0"]


class Slow(Counted):
    def train_and_measure(self, variant, seed, student):
        with open(self.cache / "log", "a") as log:
            log.write(f"{variant.name} {seed}\n")
        time.sleep(0.2)
        return {"seed": seed, "seconds": 0.2}


def _run_slow(folder):
    Slow(variants=[Named("base"), Named("other")], seeds=[0], work=folder / "work", cache=folder).run()


def test_two_processes_never_make_the_same_run(tmp_path):
    processes = [multiprocessing.get_context("fork").Process(target=_run_slow, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted((tmp_path / "log").read_text().splitlines()) == ["base 0", "other 0"]
    assert json.loads((tmp_path / "work" / "runs" / "base-seed0-v0.json").read_text())["seconds"] == 0.2
