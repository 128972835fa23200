"""A run that was stopped at any moment and resumed ends with the same weights as one that was never stopped."""

import errno
import json
import os
import random
import shutil
import signal
import time

import pytest
import torch

from leafkit.errors import DamageError, InputError, OptionError, OutputError
from leafkit.training.checkpoint import Checkpoints, State
from leafkit.training.distill import distill
from leafkit.training.moments import restore_training, training_tensors
from leafkit.training.optimiser import adamw
from leafkit.training.run_folder import RunFolder
from leafkit.vectors.store import VectorStore
from tests.fixtures.processes import start_process


@pytest.fixture
def settings(texts_file, tiny_teacher, tmp_path):
    def of(name, **more):
        return {
            "texts": str(texts_file),
            "teacher": str(tiny_teacher),
            "student": "teacher:layers=2",
            "out": str(tmp_path / name),
            "precision": "float32",
            "head": "random",
            "epochs": 6,
            "learning_rate": 1e-3,
            "batch_size": 8,
            "cycles": 2,
            "checkpoint_every": 7,
            "valid_every": 50,
            "export": False,
            **more,
        }

    return of


def weights(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*.safetensors"))}


def history(path):
    """The history of validations without the times, which differ between runs."""
    entries = json.loads((path / "leafkit.json").read_text())["training"]["history"]
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in entries]


def steps_done(folder):
    return max(Checkpoints(folder / "checkpoints").steps(), default=-1)


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_killed_at_random_steps_it_ends_with_the_same_bits(optimiser, settings, tmp_path):
    distill(**settings("whole", optimiser=optimiser))
    draw, kills, folder, errors = random.Random(0), 0, tmp_path / ".killed.run", tmp_path / "errors"
    while True:
        run = start_process(errors, distill, **settings("killed", optimiser=optimiser))
        goal = steps_done(folder) + draw.randint(1, 60)
        while run.is_alive() and steps_done(folder) < goal:
            time.sleep(0.002)
        time.sleep(draw.random() * 0.02)
        run.kill()
        run.join()
        if run.exitcode == 0:
            break
        assert run.exitcode == -signal.SIGKILL, errors.read_text()
        kills += 1
    assert kills >= 2
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert history(tmp_path / "killed") == history(tmp_path / "whole")
    assert not folder.exists()


def test_ctrl_c_saves_the_current_step_and_stops(settings, tmp_path):
    long = {"epochs": 12, "checkpoint_every": 10_000, "valid_every": 10_000}
    distill(**settings("whole", **long))
    folder, errors = tmp_path / ".stopped.run", tmp_path / "errors"
    run = start_process(errors, distill, **settings("stopped", **long))
    while steps_done(folder) < 0:
        time.sleep(0.01)
    time.sleep(0.3)
    os.kill(run.pid, signal.SIGINT)
    run.join(timeout=60)
    assert "KeyboardInterrupt" in errors.read_text()
    assert 0 < steps_done(folder) < 294
    assert not (tmp_path / "stopped").exists()
    distill(**settings("stopped", **long))
    assert history(tmp_path / "whole")[-1] == history(tmp_path / "stopped")[-1]


@pytest.fixture
def unfinished(settings, tmp_path, monkeypatch):
    """The folder of a run that stopped after its last checkpoint."""
    from leafkit.training import stages

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "finish", stop)
    with pytest.raises(KeyboardInterrupt):
        distill(**settings("student", epochs=1))
    monkeypatch.undo()
    monkeypatch.setenv("LEAFKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / ".student.run"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"epochs": 2}, "epochs"),
        ({"seed": 3}, "seed"),
        ({"student": "teacher:layers=1"}, "student"),
        ({"role": "query", "texts": "OTHER"}, "texts"),
        ({"objective": "cosine"}, "objective"),
        ({"student_prompt": "none"}, "student_prompt"),
    ],
)
def test_another_recipe_raises_naming_the_first_difference_and_the_remedies(
    change, field, unfinished, settings, tmp_path
):
    other = tmp_path / "other.txt"
    other.write_text("a\nb\nc\n")
    change = {name: str(other) if value == "OTHER" else value for name, value in change.items()}
    with pytest.raises(OutputError, match=f"its {field} differs") as raised:
        distill(**settings("student", epochs=1) | change)
    assert "delete the folder" in str(raised.value)
    assert "choose another output path" in str(raised.value)


@pytest.mark.parametrize("student", ["static:dim=64", "teacher:layers=9", "teacher:layers=9,pick=greedy", "nowhere"])
def test_a_student_that_cannot_be_built_raises_before_the_teacher_encodes_and_blocks_no_later_run(
    student, settings, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched, pytest.raises((InputError, OptionError)):
        patched.setattr(VectorStore, "fill", lambda *_: pytest.fail("the teacher was asked for texts"))
        distill(**settings("student", student=student))
    distill(**settings("student", epochs=1))
    assert (tmp_path / "student").is_dir()


def test_an_unfinished_run_resumes_without_repeating_steps(unfinished, settings, tmp_path, caplog):
    before = steps_done(unfinished)
    with caplog.at_level("INFO", logger="leafkit"):
        distill(**settings("student", epochs=1))
    assert f"resuming from step {before}" in caplog.text
    assert (tmp_path / "student").is_dir()


def test_two_runs_do_not_write_to_one_folder(unfinished, settings):
    import fcntl

    with open(unfinished / "lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another run is writing"):
            distill(**settings("student", epochs=1))


@pytest.mark.parametrize("damage", ["changed", "truncated", "missing"])
@pytest.mark.parametrize(
    "name", ["student.safetensors", "optimiser.safetensors", "random.safetensors", "state.json", "checksums.json"]
)
def test_a_damaged_checkpoint_is_never_trained_from(name, damage, tmp_path):
    model = torch.nn.Linear(2, 2)
    for step in (3, 7):
        Checkpoints(tmp_path).write(
            State(step=step), training_tensors(model, adamw(model, learning_rate=0.1, weight_decay=0.0))
        )
    newest = tmp_path / "step-000000007"
    spoil(newest / name, damage)
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(DamageError, match=rf"Delete .*{newest.name} to resume from an earlier checkpoint"):
        checkpoints.newest()
    with pytest.raises(DamageError, match=newest.name), checkpoints.reading(7) as read:
        read("student")
    shutil.rmtree(newest)
    assert checkpoints.newest() == State(step=3)


def test_a_changed_byte_anywhere_in_an_unfinished_run_is_an_error_and_never_another_student(unfinished, settings):
    """What a resumed run reads besides its description: the start, the tokenised texts and the newest checkpoint."""
    newest = sorted((unfinished / "checkpoints").glob("step-*"))[-1]
    files = [file for folder in (unfinished / "start", newest) for file in sorted(folder.rglob("*")) if file.is_file()]
    assert len(files) >= 15
    for file in files[::3]:
        if file.name == "places.npy":  # written anew when a run resumes
            continue
        whole = file.read_bytes()
        spoil(file, "changed")
        with pytest.raises(DamageError, match=r"Delete .*\.student\.run"):
            distill(**settings("student", epochs=1))
        file.write_bytes(whole)


def spoil(file, damage):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content if damage == "changed" else content[:-20])
    if damage == "missing":
        file.unlink()


def test_what_a_finished_run_left_is_never_taken_for_another_run(tmp_path):
    """A finished run that is killed while it deletes its folder has already deleted the description."""
    folder = RunFolder.of_output(tmp_path / "student")
    with folder.locked():
        folder.claim({"epochs": 1})
        Checkpoints(folder.checkpoints()).write(State(step=9), {})
    with folder.locked():
        folder.claim({"epochs": 1})
        assert Checkpoints(folder.checkpoints()).steps() == [9]
    (folder.path / "run.json").unlink()
    with folder.locked():
        folder.claim({"epochs": 2})
        assert Checkpoints(folder.checkpoints()).steps() == []


def test_a_run_that_fails_at_once_leaves_no_folder_and_one_that_fails_later_stays(tmp_path):
    folder = RunFolder.of_output(tmp_path / "new" / "student")
    with pytest.raises(ValueError), folder.locked():
        folder.claim({"epochs": 1})
        raise ValueError
    assert not any(tmp_path.iterdir())
    with pytest.raises(ValueError), folder.locked():
        folder.claim({"epochs": 1})
        Checkpoints(folder.checkpoints()).write(State(step=9), {})
        raise ValueError
    with pytest.raises(OutputError, match="its epochs differs"), folder.locked():
        folder.claim({"epochs": 2})
    assert Checkpoints(folder.checkpoints()).steps() == [9]


def test_a_full_disk_keeps_the_previous_checkpoint_and_the_run_resumes(settings, tmp_path, monkeypatch):
    flushes, flush = [], os.fsync

    def full(descriptor):
        flushes.append(descriptor)
        if len(flushes) > 160:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(descriptor)

    with monkeypatch.context() as patched, pytest.raises(OutputError, match="disk is full"):
        patched.setattr(os, "fsync", full)
        distill(**settings("student"))
    folder = tmp_path / ".student.run"
    assert steps_done(folder) > 0
    assert not list((folder / "checkpoints").glob(".*"))
    distill(**settings("whole"))
    distill(**settings("student"))
    assert weights(tmp_path / "student") == weights(tmp_path / "whole")


def test_checkpoints_keep_the_two_newest_and_the_best(tmp_path):
    model = torch.nn.Linear(2, 2)
    checkpoints, optimiser = Checkpoints(tmp_path), adamw(model, learning_rate=0.1, weight_decay=0.0)
    for step in range(6):
        checkpoints.write(State(step=step, best=1 if step else 0), training_tensors(model, optimiser))
    assert checkpoints.steps() == [1, 4, 5]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000001", "step-000000004", "step-000000005"]


def test_a_checkpoint_restores_model_optimiser_and_random_state(tmp_path):
    def step(model, optimiser):
        model(torch.randn(3, 2)).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()

    model = torch.nn.Linear(2, 2)
    optimiser = adamw(model, learning_rate=0.1, weight_decay=0.01)
    step(model, optimiser)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(State(step=1, loss=0.25), training_tensors(model, optimiser))
    step(model, optimiser)

    again = torch.nn.Linear(2, 2)
    resumed = adamw(again, learning_rate=0.1, weight_decay=0.01)
    assert checkpoints.newest() == State(step=1, loss=0.25)
    with checkpoints.reading(1) as read:
        restore_training(again, resumed, read)
    step(again, resumed)
    assert torch.equal(again.weight, model.weight)
    assert torch.equal(again.bias, model.bias)


def test_tied_weights_are_saved_and_restored(tmp_path):
    one, other = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    other.weight = one.weight
    model = torch.nn.Sequential(one, other)
    Checkpoints(tmp_path).write(State(), {"student": model.state_dict()})
    before = one.weight.detach().clone()
    torch.nn.init.zeros_(one.weight)
    with Checkpoints(tmp_path).reading(0) as read:
        model.load_state_dict(read("student"))
    assert torch.equal(one.weight, before)


def test_a_partial_checkpoint_is_ignored_and_removed(tmp_path):
    (tmp_path / ".step-000000007.partial").mkdir()
    (tmp_path / ".step-000000007.partial" / "student.safetensors").write_bytes(b"half")
    assert Checkpoints(tmp_path).newest() is None
    model = torch.nn.Linear(2, 2)
    Checkpoints(tmp_path).write(State(), {"student": model.state_dict()})
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000000"]
