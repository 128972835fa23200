"""Indexes that were damaged, by accident or on purpose: each raises a leafkit error, and none is searched."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from leafkit.errors import DamageError, InputError, LeafkitError, OutputError, SpaceError, TextError
from leafkit.index.package_files import describe_files, write_manifest
from leafkit.index.update import update_index
from leafkit.search.manifest import MANIFEST, Manifest, read_manifest
from leafkit.search.searcher import Searcher
from leafkit.space import Space
from tests.fixtures.packages import GivenVectors, index_vectors, update_vectors

SPACE = Space(teacher="drawn", weights="name:drawn", dim=32, normalised=True, pooling="mean", max_length=64)
VECTORS = numpy.random.default_rng(0).standard_normal((50, 32)).astype(numpy.float32)
IDS = [f"doc {row}" for row in range(50)]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A package with every part."""
    folder = index_vectors(IDS, VECTORS, SPACE, tmp_path / "index", precision="binary")
    update_vectors(folder, remove=["doc 0"])
    return folder


def forged(index: Path, part: str, content: bytes, **fields: object) -> None:
    """Replace a file and write its hash into the manifest, as an attacker would."""
    manifest = read_manifest(index)
    (index / manifest.parts[part]).write_bytes(content)
    files = describe_files(index, manifest.files)
    write_manifest(index, Manifest(**{**vars(manifest), "files": files, **fields}))


class Bomb:
    """An object that runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("part", ["offsets", "keys", "rows", "vectors", "live", "columns", "index", "documents"])
def test_a_pickle_instead_of_a_file_is_never_loaded(
    index: Path, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    array = tmp_path / "bomb.npy"
    numpy.save(array, numpy.array([Bomb()], dtype=object), allow_pickle=True)
    for content in (pickle.dumps(Bomb()), array.read_bytes()):
        forged(index, part, content)
        for memory_map in (True, False):
            with pytest.raises(LeafkitError):
                Searcher.open(index, memory_map=memory_map)
        with contextlib.suppress(LeafkitError):
            update_vectors(index, ids=["new"], vectors=VECTORS[:1])
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("part", ["offsets", "keys", "rows", "vectors", "live", "columns", "index", "documents"])
@pytest.mark.parametrize("content", [b"", b"\0", b"\x93NUMPY", b"{}\n", b"\xff" * 1000])
def test_an_empty_or_foreign_file_raises_an_error(index: Path, part: str, content: bytes) -> None:
    forged(index, part, content)
    with pytest.raises(LeafkitError):
        Searcher.open(index)


def test_offsets_outside_the_file_are_damage_when_a_document_is_read(index: Path) -> None:
    path = index / read_manifest(index).parts["offsets"]
    offsets = numpy.load(path)
    for changed in (offsets[::-1], numpy.roll(offsets, 3), offsets * -1, offsets + 5):
        changed = changed.copy()
        changed[-1] = offsets[-1]
        numpy.save(path, changed)
        forged(index, "offsets", path.read_bytes())
        with pytest.raises(DamageError):
            Searcher.open(index).search(VECTORS[0], 50)


def test_recorded_rows_that_do_not_exist_are_damage_when_searched(index: Path) -> None:
    path = index / read_manifest(index).parts["rows"]
    numpy.save(path, numpy.load(path) + 10**9)
    forged(index, "rows", path.read_bytes())
    with pytest.raises(LeafkitError):
        Searcher.open(index).search(VECTORS[0], allow=IDS)


def test_a_file_of_another_index_is_damage(index: Path, tmp_path: Path) -> None:
    other = index_vectors(IDS, VECTORS[::-1], SPACE, tmp_path / "other", precision="binary")
    for name in read_manifest(index).files.keys() & read_manifest(other).files.keys():
        content = (index / name).read_bytes()
        if content == (other / name).read_bytes():
            continue
        shutil.copyfile(other / name, index / name)
        with pytest.raises(DamageError, match=name):
            Searcher.open(index)
        (index / name).write_bytes(content)
    shutil.copyfile(other / MANIFEST, index / MANIFEST)
    with pytest.raises(DamageError):
        Searcher.open(index)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("part", ["offsets", "keys", "rows", "vectors", "live", "columns", "index", "documents", None])
def test_an_update_raises_an_error_for_a_changed_byte_in_any_old_file_and_changes_nothing(
    index: Path, part: str | None, tmp_path: Path
) -> None:
    """An update copies old rows under new hashes: damage that it does not detect could never be detected later."""
    path = index / (read_manifest(index).parts[part] if part else MANIFEST)
    content = path.read_bytes()
    (tmp_path / "new.txt").write_text("a list\n")
    for position in (0, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        before = contents(index)
        with pytest.raises((DamageError, InputError), match=path.name):
            update_index(index, remove=["doc 1"])
        with pytest.raises((DamageError, InputError), match=path.name):
            update_index(index, add=tmp_path / "new.txt", teacher=GivenVectors(VECTORS[:1], SPACE), compact=True)
        assert contents(index) == before
    path.write_bytes(content)
    update_index(index, add=tmp_path / "new.txt", teacher=GivenVectors(VECTORS[:1], SPACE), compact=True)


def test_a_folder_instead_of_a_file_raises_an_error(index: Path) -> None:
    for name in list(read_manifest(index).files):
        content = (index / name).read_bytes()
        (index / name).unlink()
        (index / name).mkdir()
        with pytest.raises(DamageError, match=re.escape(f"{name} is a folder; expected a regular file")):
            Searcher.open(index)
        (index / name).rmdir()
        (index / name).write_bytes(content)
    (index / MANIFEST).unlink()
    (index / MANIFEST).mkdir()
    with pytest.raises(DamageError, match=r"manifest\.json is a folder"):
        Searcher.open(index)


def test_an_edited_space_is_damage(index: Path) -> None:
    text = (index / MANIFEST).read_text(encoding="utf-8")
    (index / MANIFEST).write_text(text.replace("name:drawn", "name:other"), encoding="utf-8")
    with pytest.raises(DamageError):
        Searcher.open(index)


def test_documents_encoded_in_another_space_are_not_added(index: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("a list\n")
    for field, value in (
        ("weights", "name:x"),
        ("document_prompt", "passage: "),
        ("pooling", "cls"),
        ("rotation", "r"),
    ):
        other = Space(**{**vars(SPACE), field: value})
        with pytest.raises(SpaceError, match=f"{field} is {value!r}"):
            update_index(index, add=tmp_path / "new.txt", teacher=GivenVectors(VECTORS[:1], other))


@pytest.mark.parametrize("name", ["", "\0", "a\nb", "../..", "'; drop table", "\U0001f600", "x" * 100_000, "\ud800"])
def test_any_string_can_be_an_id(tmp_path: Path, name: str) -> None:
    searcher = Searcher.open(index_vectors([name, "other"], VECTORS[:2], SPACE, tmp_path / "odd"))
    assert searcher.search(VECTORS[0], 1).ids == [name]
    assert searcher.search(VECTORS[1], 2, allow=[name]).ids == [name]


def test_a_payload_that_contains_itself_raises_an_error(tmp_path: Path) -> None:
    payload: dict[str, object] = {}
    payload["self"] = payload
    with pytest.raises(TextError, match="'doc 0'"):
        index_vectors(IDS[:1], VECTORS[:1], SPACE, tmp_path / "nested", payload=[payload])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_raises_an_error(index: Path) -> None:
    index.chmod(0o500)
    with pytest.raises(OutputError, match="cannot write"):
        update_vectors(index, remove=["doc 1"])
    index.chmod(0o700)
