"""The framework notices every way in which a case can end, names it, and goes on with the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.fuzz import runner
from tests.hostile.fuzz.target import all_targets
from tests.hostile.fuzz.targets.deliberate import WAYS


@pytest.mark.slow
def test_every_way_to_end_is_noticed_and_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "WALL_SECONDS", 3.0)
    target = all_targets()["_deliberate"]
    target.build(tmp_path)
    cases: dict[str, int] = {}
    for case in range(200):
        target.damage(tmp_path, 0, case)
        cases.setdefault((tmp_path / "way.bin").read_bytes().decode("latin-1"), case)
        target.build(tmp_path)
    jobs = [("_deliberate", 0, cases[way], cases[way] + 1) for way in WAYS]
    tally = runner.run(jobs)
    assert tally.counts["_deliberate"] == dict.fromkeys(WAYS, 1)
    found = {(failure.outcome, failure.case) for failure in tally.failures}
    assert found == {(way, cases[way]) for way in ("traceback", "memory", "hang", "crash")}
    assert "KeyError: 'traceback'" in str(tally.failures[0])
    assert f"python -m tests.hostile.fuzz _deliberate --seed 0 --case {cases['crash']}" in str(tally.failures[-1])
