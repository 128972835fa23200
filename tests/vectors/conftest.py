"""The teacher of filling.py, for tests in this process."""

import runpy
from pathlib import Path

import pytest

FILLING = Path(__file__).with_name("filling.py")


@pytest.fixture(scope="session")
def filling():
    """The names of filling.py, and where it is."""
    return {"script": str(FILLING), **runpy.run_path(str(FILLING))}


@pytest.fixture(scope="session")
def hash_teacher(filling):
    """The class of the teacher."""
    return filling["HashTeacher"]
