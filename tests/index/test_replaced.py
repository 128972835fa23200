"""An index that is replaced while it is updated, and two builds at once: nothing is lost, nothing is mixed."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest

from leafkit.errors import OutputError
from leafkit.index.new_package import plan_package, write_package
from leafkit.index.next_generation import apply_update
from leafkit.index.package_files import open_for_update
from leafkit.search.documents import Document
from leafkit.search.package import open_package
from leafkit.search.searcher import Searcher
from leafkit.space import Space
from tests.fixtures.packages import GivenVectors, index_vectors, update_vectors

Make = Callable[..., Path]


def ids_of(index: Path, vectors: numpy.ndarray) -> set[str]:
    return set(Searcher.open(index).search(vectors[0], 1000).ids)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_build_replaces_an_index_only_after_a_running_update(
    make: Make, vectors: numpy.ndarray, ids: list[str], space: Space
) -> None:
    index = make()
    started, built = threading.Event(), threading.Event()

    def build() -> None:
        started.wait()
        index_vectors(ids[100:200], vectors[100:200], space, index, overwrite=True)
        built.set()

    def documents() -> Iterator[Document]:
        started.set()
        assert not built.wait(1)  # the build is done but for taking the place of the index
        yield Document("new", {"text": "new"})

    builder = threading.Thread(target=build)
    builder.start()
    with open_for_update(index) as package:
        apply_update(package, documents(), GivenVectors(vectors[:1], space), [])
        assert "new" in ids_of(index, vectors)
    builder.join()
    assert ids_of(index, vectors) == set(ids[100:200])
    open_package(index, verify=True)
    assert names(index.parent) == {index.name}


@pytest.mark.parametrize("when", ["before", "while", "at the end of"])
def test_an_update_of_an_index_that_the_user_moved_away_raises_and_leaves_the_new_index_alone(
    make: Make, vectors: numpy.ndarray, ids: list[str], space: Space, when: str
) -> None:
    index, other = make(rows=50), make(name="other")
    (other / "added-keys-2.npy").write_bytes(b"of another update")
    expected = names(other)

    def move() -> None:
        index.rename(index.with_name("old"))
        other.rename(index)

    def documents() -> Iterator[Document]:
        if when == "while":
            move()
        yield Document("new", {"text": "new"})

    class Moving(GivenVectors):
        def encode(self, *arguments: object) -> numpy.ndarray:
            if when == "at the end of":
                move()
            return vectors[:1]

    with pytest.raises(OutputError, match="was replaced by another index"), open_for_update(index) as package:
        if when == "before":
            move()
        apply_update(package, documents(), Moving(vectors, space), ["doc 1"])
    assert names(index) >= expected  # nothing of the new index or of its own updates was deleted
    assert ids_of(index, vectors) == set(ids[:400])
    assert ids_of(index.with_name("old"), vectors) == set(ids[:50])
    assert update_vectors(index, remove=["doc 1"]).removed == 1
    assert names(index) == {*open_package(index, verify=True).manifest.files, "manifest.json"}


def test_of_two_builds_of_one_index_the_second_raises(
    tmp_path: Path, vectors: numpy.ndarray, ids: list[str], space: Space
) -> None:
    class Slow(GivenVectors):
        def encode(self, *arguments: object) -> numpy.ndarray:
            with pytest.raises(OutputError, match="another process is writing"):
                index_vectors(ids[:9], vectors[:9], space, tmp_path / "index")
            return vectors[:5]

    documents = (Document(name, {"text": name}) for name in ids[:5])
    plan = plan_package(space, [])
    write_package(documents, Slow(vectors, space), tmp_path / "index", plan, overwrite=False, teacher=None)
    assert ids_of(tmp_path / "index", vectors) == set(ids[:5])
    assert names(tmp_path) == {"index"}


@pytest.mark.parametrize("name", [".manifest.json.partial", ".keys-3.npy.partial", "index-9.faiss"])
def test_the_next_update_deletes_what_a_killed_update_left(make: Make, name: str) -> None:
    index = make(rows=50)
    killed = shutil.copytree(index, index.with_name("killed"))
    (killed / name).write_bytes(b"left")
    (killed / ".mine.partial").write_bytes(b"the user's")
    update_vectors(killed, remove=["absent"])
    assert names(killed) == names(index) | {".mine.partial"}
