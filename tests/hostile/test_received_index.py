"""An index from a stranger is data: a hash that fits proves nothing, and no attack gets more than an error."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from leafkit.errors import DamageError, InputError, LeafkitError
from leafkit.index.package_files import describe_files, write_manifest
from leafkit.search import package as packages
from leafkit.search.manifest import LEXICAL_PARTS, MANIFEST, Manifest, read_manifest
from leafkit.search.searcher import Searcher
from leafkit.space import Space
from tests.fixtures.packages import index_vectors, update_vectors

SPACE = Space(teacher="drawn", weights="name:drawn", dim=16, normalised=True, pooling="mean", max_length=64)
VECTORS = numpy.random.default_rng(0).standard_normal((20, 16)).astype(numpy.float32)
IDS = [f"doc {row}" for row in range(20)]
PARTS = ["index", "documents", "offsets", "keys", "rows", "vectors", "live", "columns", *LEXICAL_PARTS]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with every part."""
    out = tmp_path_factory.mktemp("whole") / "index"
    folder = index_vectors(IDS, VECTORS, SPACE, out, precision="binary", rotate="random")
    update_vectors(folder, remove=["doc 0"])
    return folder


@pytest.fixture
def index(whole: Path, tmp_path: Path) -> Path:
    """A copy of the package, to be changed, and a secret beside it."""
    (tmp_path / "secret.jsonl").write_text('{"id": "x", "payload": {"text": "TOPSECRET"}}\n')
    return shutil.copytree(whole, tmp_path / "got.index")


def reseal(index: Path, **fields: Any) -> None:
    """Change fields of the manifest, or describe its files anew, with hashes that fit."""
    manifest = read_manifest(index)
    files = describe_files(index, [name for name in manifest.files if (index / name).is_file()])
    write_manifest(index, Manifest(**{**vars(manifest), "files": files, **fields}))


def searched(index: Path) -> None:
    searcher = Searcher.open(index)
    searcher.search(VECTORS[0], 20, allow=IDS)


@pytest.mark.parametrize("name", ["../secret.jsonl", "/etc/passwd", "..", "", ".hidden", "a/b.npy", "x" * 5000, "a\0b"])
@pytest.mark.parametrize("part", ["documents", "index", "live"])
def test_a_part_cannot_lead_outside(index: Path, part: str, name: str) -> None:
    parts = {**read_manifest(index).parts, part: name}
    reseal(index, parts=parts)
    with pytest.raises(DamageError, match=f"the part {part} is no file of the index"):
        searched(index)
    facts = {"sha256": "0" * 64, "bytes": 46}
    write_manifest(
        index, Manifest(**{**vars_of(index), "parts": parts, "files": {**vars_of(index)["files"], name: facts}})
    )
    with pytest.raises(DamageError, match=r"outside the index folder|is no file of the index"):
        searched(index)


def vars_of(index: Path) -> dict[str, Any]:
    """Return the fields of the manifest, without checking them."""
    content = json.loads((index / MANIFEST).read_bytes())
    fields = {name: content[name] for name in Manifest.__dataclass_fields__}
    return {**fields, "space": Space.from_json(content["space"])}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", [*PARTS, "mapping", None])
@pytest.mark.parametrize("kind", ["pipe", "link", "link to its own content", "folder", "device"])
def test_anything_but_a_regular_file_is_an_error_that_says_so(index: Path, part: str | None, kind: str) -> None:
    path = index / {**read_manifest(index).parts, "mapping": "mapping.npz", None: MANIFEST}[part]
    path.rename(index.parent / "moved")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        targets = {"link": "secret.jsonl", "link to its own content": "moved", "device": "/dev/zero"}
        path.symlink_to(index.parent / targets[kind])
    expected = {"pipe": "a named pipe", "folder": "a folder"}.get(kind, "a symbolic link")
    with pytest.raises(DamageError, match=f"{path.name} is {expected}; expected a regular file"):
        searched(index)


def test_the_index_itself_may_be_reached_through_a_link(index: Path) -> None:
    (index.parent / "docs.index").symlink_to("got.index")
    assert Searcher.open(index.parent / "docs.index").search(VECTORS[1], 1).ids == ["doc 1"]


WRONG: dict[str, list[Any]] = {
    "dim": ["16", 0, -1, 16.0, True, None, 1 << 70, 17],
    "rows": ["20", -1, None, 1 << 70],
    "count": [-1, 21, [], None],
    "generation": ["2", None, -1],
    "precision": ["int3", None, [], {}],
    "rescore": ["int3", None, []],
    "factory": [None, 3],
    "loss": ["0", None, float("nan"), float("inf")],
    "parts": [None, [], {}, {"index": 3}, {"other": "a"}],
    "files": [
        None,
        [],
        {"a": None},
        {"a": {}},
        {"a": {"sha256": "x", "bytes": 1}},
        {"a": {"sha256": None, "bytes": -1}},
    ],
    "encoder": [
        [],
        "x",
        3,
        *(
            {"student": "a", "rungs": rungs}
            for rungs in (
                None,
                [],
                {},
                {"../x": {"student": "a", "layers": 1}},
                {"teacher": {"student": "a", "layers": 1}},
                {"full": "a"},
                {"full": {"student": 3, "layers": 1}},
                {"full": {"student": "a", "layers": -1}},
                {"full": {"student": "a", "layers": "1"}},
                {str(number): {"student": "a", "layers": 1} for number in range(17)},
            )
        ),
    ],
    "built": [None, []],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_field_of_another_type_is_damage(index: Path, field: str, value: Any) -> None:
    write_manifest(index, Manifest(**{**vars_of(index), field: value}))
    with pytest.raises(DamageError, match=r"manifest\.json is not the manifest of an index"):
        searched(index)


def test_a_student_without_files_is_an_error_when_it_is_used(index: Path) -> None:
    reseal(index, encoder={"rungs": {name: {"student": name, "layers": 1} for name in ("small", "full")}})
    searched(index)
    with pytest.raises(InputError, match=r"encoder-small is not an exported student: it has no onnx/export\.json"):
        Searcher.open(index).search("a", effort="small")


@pytest.mark.parametrize("field", ["dim", "parts", "files", "space"])
def test_a_missing_field_is_damage(index: Path, field: str) -> None:
    content = json.loads((index / MANIFEST).read_bytes())
    del content[field], content["sha256"]
    from leafkit.search.manifest import _dump, _hash

    (index / MANIFEST).write_text(_dump({**content, "sha256": _hash(content)}))
    with pytest.raises(DamageError, match=f"the field '{field}' is missing"):
        searched(index)


@pytest.mark.parametrize("part", LEXICAL_PARTS)
def test_an_index_has_all_files_of_its_words_or_none(index: Path, part: str) -> None:
    parts = read_manifest(index).parts
    reseal(index, parts={name: file for name, file in parts.items() if name not in LEXICAL_PARTS})
    searched(index)
    reseal(index, parts={name: file for name, file in parts.items() if name != part})
    with pytest.raises(DamageError, match=f"the parts {part} are missing"):
        searched(index)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000, b" " * 2_000_000, b"\xff"])
def test_a_manifest_that_is_no_json_of_reasonable_size_is_damage(index: Path, content: bytes) -> None:
    (index / MANIFEST).write_bytes(content)
    with pytest.raises(LeafkitError, match=r"manifest\.json"):
        searched(index)


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"id": "a", "payload": ' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"id": "a", "payload": [1]}',
        b'{"id": "a", "payload": 3}',
        b'{"id": 3, "payload": {}}',
        b'{"id": "a"}',
        b"[]",
        b"9" * 10_000,
    ],
)
def test_a_document_line_that_leafkit_cannot_have_written_is_damage(index: Path, line: bytes) -> None:
    parts = read_manifest(index).parts
    (index / parts["documents"]).write_bytes(line * 20)
    numpy.save(index / parts["offsets"], numpy.arange(21) * len(line))
    reseal(index)
    with pytest.raises(DamageError, match="holds a line that leafkit did not write"):
        searched(index)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("bomb", ["compressed", "large"])
def test_a_mapping_that_unfolds_to_more_than_its_file_is_damage(index: Path, bomb: str) -> None:
    with numpy.load(index / "mapping.npz") as arrays:
        content = dict(arrays)
    if bomb == "compressed":
        numpy.savez_compressed(index / "mapping.npz", **content | {"documents": numpy.zeros((2000, 2000))})
    else:
        raw = (index / "mapping.npz").read_bytes()
        (index / "mapping.npz").write_bytes(raw.replace(b"'shape': (16, 16), }   ", b"'shape': (16000000, 16), }"))
    reseal(index)
    with pytest.raises(DamageError, match=r"mapping\.npz is not a mapping"):
        searched(index)


@pytest.mark.parametrize("header", [b"(" * 5000, b"-" * 9000, b"{'descr': ", b"\\\n", b"9" * 9000])
@pytest.mark.parametrize("part", ["offsets", "vectors", "live", "columns", "postings"])
def test_a_header_of_an_array_that_is_no_header_is_damage(index: Path, part: str, header: bytes) -> None:
    content = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header
    (index / read_manifest(index).parts[part]).write_bytes(content)
    reseal(index)
    with pytest.raises(DamageError, match="is not an array that leafkit wrote"):
        searched(index)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_an_unreadable_file_is_an_error_about_permissions(index: Path) -> None:
    for name in [MANIFEST, *read_manifest(index).files]:
        (index / name).chmod(0)
        with pytest.raises(InputError, match="permission denied"):
            searched(index)
        (index / name).chmod(0o644)


def test_what_was_verified_is_what_is_read(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is replaced after it was hashed is never read."""
    verified = packages.open_files

    def replaced_later(folder: Path, manifest: Manifest, *, verify: bool) -> Any:
        files = verified(folder, manifest, verify=verify)
        for name in manifest.files:
            (index.parent / "evil").write_bytes(b"EVIL")
            (index.parent / "evil").replace(index / name)
        return files

    monkeypatch.setattr(packages, "open_files", replaced_later)
    assert Searcher.open(index).search(VECTORS[1], 1).payload == [{"text": "doc 1"}]


def test_readers_never_see_damage_while_builds_replace_the_index(tmp_path: Path) -> None:
    """Every build begins with generation 1, so that only its content tells it from the one before."""
    folder = tmp_path / "docs.index"
    build: Callable[[int], Path] = lambda seed: index_vectors(  # noqa: E731
        IDS, numpy.roll(VECTORS, seed, axis=0), SPACE, folder, overwrite=True, seed=seed
    )
    build(0)
    done = threading.Event()
    errors: list[LeafkitError] = []

    def read() -> None:
        while not done.is_set():
            try:
                Searcher.open(folder)
            except LeafkitError as error:
                errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for seed in range(1, 40):
        build(seed)
    done.set()
    reader.join()
    assert not errors, errors[0]


def test_an_index_replaced_while_it_is_opened_is_opened_again(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verified, tries = packages.open_files, []

    def replaced_first(folder: Path, manifest: Manifest, *, verify: bool) -> Any:
        tries.append(manifest.generation)
        if len(tries) == 1:
            index_vectors(IDS[::-1], VECTORS[::-1], SPACE, folder, overwrite=True)
        return verified(folder, manifest, verify=verify)

    update_vectors(index, remove=["doc 1"])
    monkeypatch.setattr(packages, "open_files", replaced_first)
    assert Searcher.open(index).search(VECTORS[3], 1).ids == ["doc 3"]
    assert len(tries) == 2
