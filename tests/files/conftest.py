"""Tests of what reaches the disk."""

import os

import pytest

FSYNC = os.fsync


@pytest.fixture(autouse=True)
def _slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let these tests wait for the disk, in contrast to all others."""
    monkeypatch.setattr(os, "fsync", FSYNC)
