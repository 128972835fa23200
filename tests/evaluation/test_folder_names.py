from __future__ import annotations

from pathlib import Path

import pytest

from leafkit.errors import OptionError
from leafkit.evaluation.folder_names import as_paths, distinct_names


def test_one_path_several_or_none_become_a_list():
    assert as_paths(None) == []
    assert as_paths("a") == as_paths(Path("a")) == as_paths(["a"]) == [Path("a")]


def test_names_are_as_short_as_possible():
    assert distinct_names([Path("x/a"), Path("y/b")], what="student") == ["a", "b"]
    assert distinct_names([Path("x/a"), Path("y/a")], what="student") == ["x/a", "y/a"]
    assert distinct_names([], what="student") == []


def test_the_same_folder_twice_is_refused():
    with pytest.raises(OptionError, match=r"the student x/\.\./a is given twice"):
        distinct_names([Path("x/../a"), Path("a")], what="student")
