"""The scripts of docs/beyond-one-machine.md, run by a shell with a leafkit that only notes what it is asked for."""

import os
import subprocess

import pytest
import yaml

from tests.fixtures.blocks import ROOT, blocks

BLOCKS = blocks([ROOT / "docs" / "beyond-one-machine.md"])
COMMON = "embed docs.jsonl --encoder BAAI/bge-small-en-v1.5"


@pytest.fixture
def asked(tmp_path):
    """Run a script and return the words of each call of leafkit."""
    program, notes = tmp_path / "leafkit", tmp_path / "notes"
    program.write_text(f'#!/bin/sh\necho "$@" >> {notes}\n')
    program.chmod(0o755)

    def run(script, **variables):
        environment = {**os.environ, **variables, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        subprocess.run(["sh", "-euc", script], check=True, env=environment, timeout=60)
        return sorted(notes.read_text().splitlines())

    return run


def script_with(words):
    (found,) = (block.code for block in BLOCKS if block.language == "sh" and words in block.code)
    return found


def test_a_task_of_slurm_makes_the_shard_of_its_number(asked):
    calls = asked(script_with("SLURM"), SLURM_ARRAY_TASK_ID="3", SLURM_ARRAY_TASK_COUNT="16")
    assert calls == [f"{COMMON} --out shards --shard 3/16"]


def test_xargs_makes_every_shard_once(asked):
    assert asked(script_with("xargs")) == [f"{COMMON} --shard {number}/4 --out shards" for number in range(1, 5)]


def test_a_pod_of_kubernetes_makes_the_shard_after_its_index(asked):
    (job,) = (yaml.safe_load(block.code) for block in BLOCKS if block.language == "yaml")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "-c"]
    (script,) = container["args"]
    last = job["spec"]["completions"]
    (call,) = asked(script, JOB_COMPLETION_INDEX=str(last - 1))
    assert call == f"{COMMON.replace('docs', '/data/docs')} --shard {last}/{last} --out /data/shards"
