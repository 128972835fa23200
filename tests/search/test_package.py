"""Damage to any file of a package is detected, and memory-mapped packages answer like packages read into memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from leafkit.errors import DamageError, InputError
from leafkit.index.package_files import write_manifest
from leafkit.search.manifest import LEXICAL_PARTS, Manifest, read_manifest
from leafkit.search.package import open_package
from leafkit.search.searcher import Searcher
from tests.fixtures.packages import update_vectors

Make = Callable[..., Path]


@pytest.fixture
def index(make: Make) -> Path:
    """A package that has all optional parts."""
    folder = make(rows=64, precision="binary")
    update_vectors(folder, remove=["doc 1"])
    return folder


def test_the_fixture_has_every_part(index: Path) -> None:
    assert set(open_package(index, verify=True).manifest.parts) == {
        "index",
        "documents",
        "offsets",
        "keys",
        "rows",
        "vectors",
        "live",
        *LEXICAL_PARTS,
        "columns",
    }


def test_the_manifest_records_space_storage_and_counts(make: Make, space: object) -> None:
    manifest = read_manifest(make(precision="int8", factory="HNSW16", dim=32))
    assert manifest.space == space
    assert (manifest.dim, manifest.precision, manifest.factory) == (32, "int8", "HNSW16,SQ8")
    assert (manifest.rescore, manifest.metric, manifest.count, manifest.rows) == ("none", "cosine", 400, 400)
    assert set(manifest.built) == {"time", "command", "versions", "teacher"}


def test_a_written_manifest_reads_back_equal(index: Path) -> None:
    manifest = read_manifest(index)
    write_manifest(index, manifest)
    assert read_manifest(index) == manifest
    assert (index / "manifest.json").read_text(encoding="utf-8") == manifest.dump()
    assert isinstance(manifest, Manifest)


def test_opening_detects_a_changed_byte_in_any_file(index: Path) -> None:
    random = numpy.random.default_rng(0)
    for path in sorted(index.iterdir()):
        content = path.read_bytes()
        size = len(content)
        places = {0, 1, size // 2, size - 2, size - 1, *random.integers(size, size=6).tolist()}
        if path.name == "manifest.json":
            places |= set(range(0, size, 7))
        for place in places:
            changed = bytearray(content)
            changed[place] ^= 1 << int(random.integers(8))
            path.write_bytes(changed)
            with pytest.raises((DamageError, InputError), match=path.name):
                Searcher.open(index)
        path.write_bytes(content)
    Searcher.open(index)


@pytest.mark.parametrize("verify", [True, False])
def test_opening_detects_a_truncated_or_missing_file(index: Path, verify: bool) -> None:
    for path in sorted(index.iterdir()):
        content = path.read_bytes()
        for size in {0, 1, len(content) // 2, len(content) - 1}:
            path.write_bytes(content[:size])
            with pytest.raises((DamageError, InputError), match=path.name):
                Searcher.open(index, verify=verify)
        path.write_bytes(content + b"\0")
        with pytest.raises((DamageError, InputError), match=path.name):
            Searcher.open(index, verify=verify)
        path.unlink()
        with pytest.raises((DamageError, InputError), match=path.name):
            Searcher.open(index, verify=verify)
        path.write_bytes(content)
    Searcher.open(index, verify=verify)


def test_files_of_other_programs_in_the_folder_are_left_alone(index: Path) -> None:
    (index / "notes.txt").write_text("mine")
    update_vectors(index, remove=["doc 2"])
    Searcher.open(index)
    assert (index / "notes.txt").exists()


@pytest.mark.parametrize(
    ("precision", "factory"),
    [
        ("float32", None),
        ("int8", "IVF8"),
        ("binary", "BIVF8"),
        ("float16", "HNSW16"),
        ("float32", "IVF8,PQ8x4fs,RFlat"),
        ("float32", "RaBitQ"),
    ],
)
def test_memory_mapping_does_not_change_answers(
    make: Make, vectors: numpy.ndarray, precision: str, factory: str | None
) -> None:
    index = make(precision=precision, factory=factory)
    for allow in (None, [f"doc {row}" for row in range(0, 400, 2)]):
        mapped = Searcher.open(index).search(vectors, 7, allow)
        read = Searcher.open(index, memory_map=False).search(vectors, 7, allow)
        assert [(h.ids, h.scores.tolist(), h.payload) for h in mapped] == [
            (h.ids, h.scores.tolist(), h.payload) for h in read
        ]


def rewrite(index: Path, **changes: object) -> None:
    """Change fields of the manifest as someone would who also computes its hash."""
    manifest = read_manifest(index)
    write_manifest(index, Manifest(**{**vars(manifest), **changes}))


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside"])
def test_a_manifest_with_a_path_outside_its_folder_is_damage(index: Path, name: str) -> None:
    rewrite(index, files={name: {"sha256": "0" * 64, "bytes": 0}})
    with pytest.raises(DamageError, match="names a file outside the index folder"):
        open_package(index, verify=False)


@pytest.mark.parametrize(
    "changes",
    [{"rows": 63}, {"rows": 65}, {"rows": 0}, {"dim": 32}, {"dim": 65}, {"rescore": "float16"}, {"precision": "int8"}],
)
def test_a_manifest_that_contradicts_its_files_is_damage(index: Path, changes: dict[str, object]) -> None:
    rewrite(index, **changes)
    with pytest.raises(DamageError, match="Build the index again"):
        Searcher.open(index, verify=False)


@pytest.mark.parametrize("content", ["", "{}", "[]", "nonsense", '{"format": "leafkit-vectors"}', "\ud800"])
def test_a_file_that_is_not_an_index_manifest_raises_an_error(index: Path, content: str) -> None:
    (index / "manifest.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises((InputError, DamageError), match=r"manifest\.json"):
        read_manifest(index)


def test_an_index_of_a_later_format_version_asks_to_update_leafkit(index: Path) -> None:
    content = json.loads((index / "manifest.json").read_text())
    content["version"] = 2
    (index / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"format version 2, but this leafkit reads version 1. Update leafkit"):
        read_manifest(index)
