"""Several processes that share each batch take the same steps as one process."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from leafkit.training.distill import distill
from tests.fixtures.processes import start_process

SCRIPT = """
import atexit, json, sys, torch
# Functions registered first run last.
atexit.register(lambda: print("in a group:", torch.distributed.is_initialized()))
torch.set_num_threads(1)
from leafkit.training.distill import distill
facts = distill(**json.loads(sys.argv[1]))
assert facts.path.is_dir()
assert torch.distributed.is_initialized()
"""


def settings(texts_file, tiny_teacher, out, **more):
    return {
        "texts": str(texts_file),
        "teacher": str(tiny_teacher),
        "student": "teacher:layers=2",
        "out": str(out),
        "precision": "float32",
        "head": "random",
        "epochs": 1.5,
        "learning_rate": 1e-3,
        # 196 texts leave a last batch of one text, so one process has no share but must still take part.
        "batch_size": 15,
        "valid_every": 7,
        "device": "cpu",
        "export": False,
        **more,
    }


def torchrun(tmp_path, arguments, processes):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", str(script)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command, json.dumps(arguments)], env=environment, capture_output=True, text=True, timeout=240
    )


def share_one_training(arguments, tmp_path, processes=2):
    """Train in several processes that have the environment variables of torchrun, but start at once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(processes)}
    group["ACCELERATE_USE_CPU"] = "true"
    errors = [tmp_path / f"errors-{rank}" for rank in range(processes)]
    with pytest.MonkeyPatch.context() as patched:
        for name, value in group.items():
            patched.setenv(name, value)
        running = []
        for rank in range(processes):
            patched.setenv("RANK", str(rank))
            patched.setenv("LOCAL_RANK", str(rank))
            running.append(start_process(errors[rank], distill, **arguments))
    for process in running:
        process.join(timeout=240)
    assert [process.exitcode for process in running] == [0] * processes, [file.read_text() for file in errors]


def test_two_processes_train_the_same_student_as_one(texts_file, tiny_teacher, tmp_path):
    one = distill(**settings(texts_file, tiny_teacher, tmp_path / "one"))
    run = torchrun(tmp_path, settings(texts_file, tiny_teacher, tmp_path / "two"), processes=2)
    assert run.returncode == 0, run.stderr
    # A process that leaves its group to the end of the interpreter is sometimes aborted there, after all work is done.
    assert run.stdout.count("in a group: False") == 2
    two = json.loads((tmp_path / "two" / "leafkit.json").read_text())["training"]
    assert [entry["step"] for entry in two["history"]] == [entry["step"] for entry in one.training["history"]]
    assert two["best"]["cosine_mean"] == pytest.approx(one.training["best"]["cosine_mean"], abs=1e-4)
    for name in one.weights:
        ours, theirs = load_file(tmp_path / "one" / name), load_file(tmp_path / "two" / name)
        assert all(torch.allclose(ours[key], theirs[key], atol=2e-4) for key in ours)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "run.py", "two"]


def test_a_run_of_one_process_resumes_with_two(texts_file, tiny_teacher, tmp_path, monkeypatch):
    from leafkit.training import loop

    steps = 0
    step = loop.Loop._step

    def stop_at_ten(self, rows):
        nonlocal steps
        steps += 1
        if steps > 10:
            raise KeyboardInterrupt
        step(self, rows)

    one = distill(**settings(texts_file, tiny_teacher, tmp_path / "one"))
    monkeypatch.setattr(loop.Loop, "_step", stop_at_ten)
    arguments = settings(texts_file, tiny_teacher, tmp_path / "two", checkpoint_every=4)
    with pytest.raises(KeyboardInterrupt):
        distill(**arguments)
    share_one_training(arguments, tmp_path)
    two = json.loads((tmp_path / "two" / "leafkit.json").read_text())["training"]
    assert two["history"][-1]["cosine_mean"] == pytest.approx(one.training["history"][-1]["cosine_mean"], abs=1e-3)
