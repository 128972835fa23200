"""Splitting and joining restores every byte; damaged or hostile parts are refused and write nothing."""

import hashlib
import json
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leafkit.errors import DamageError, InputError, OptionError, OutputError
from leafkit.models.parts import join, main, split

NAMES = st.text("abé. ", min_size=1, max_size=4).map(lambda name: f"n{name}n")
TREES = st.dictionaries(st.lists(NAMES, min_size=2, max_size=3).map("/".join), st.binary(max_size=40), min_size=1)


def write_tree(folder, tree):
    for name, content in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def read_tree(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def parts(tmp_path):
    """Two files and a folder in parts of 10 bytes."""
    write_tree(tmp_path / "in", {"a.txt": b"0123456789abcdef", "m/b.bin": bytes(range(20)), "m/empty": b""})
    return split([tmp_path / "in" / "a.txt", tmp_path / "in" / "m"], tmp_path / "parts", size=10)


@settings(max_examples=40)
@given(tree=TREES, size=st.integers(1, 200))
def test_joining_undoes_splitting_for_any_size(tmp_path_factory, tree, size):
    folder = tmp_path_factory.mktemp("tree")
    try:
        write_tree(folder / "in", {f"top/{name}": content for name, content in tree.items()})
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        return  # one file's name is another's folder
    split([folder / "in" / "top"], folder / "parts", size=size)
    assert read_tree(join(folder / "parts", folder / "out")) == read_tree(folder / "in")
    lengths = [file.stat().st_size for file in sorted((folder / "parts").glob("*.part"))]
    assert sum(lengths) == sum(map(len, tree.values()))
    assert all(length == size for length in lengths[:-1])
    assert all(0 < length <= size for length in lengths)


def test_every_changed_byte_of_a_part_is_refused_with_the_parts_name(parts, tmp_path):
    for part in sorted(parts.glob("*.part")):
        content = part.read_bytes()
        for place in range(len(content)):
            part.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with pytest.raises(DamageError, match=rf"{part.name} is truncated or changed"):
                join(parts, tmp_path / "out")
        part.write_bytes(content)
    assert not (tmp_path / "out").exists()
    assert join(parts, tmp_path / "out").is_dir()


def test_a_missing_part_is_refused_with_its_name(parts, tmp_path):
    (parts / "0002.part").unlink()
    with pytest.raises(DamageError, match=r"0002\.part is missing"):
        join(parts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_changed_byte_of_the_manifest_is_refused(parts, tmp_path):
    file = parts / "parts.json"
    content = file.read_bytes()
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        if file.read_bytes().split() != content.split():  # white space does not matter
            with pytest.raises(DamageError, match=r"parts\.json (is|contains) "):
                join(parts, tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["../out", "a/../../b", "/etc/x", "", ".", "..", "c:\\x", "\\x", "a\\..\\..\\b", "x\0", 3, None]
)
@pytest.mark.parametrize("where", ["files", "parts"])
def test_a_hostile_manifest_writes_and_reads_nothing_outside(parts, tmp_path, name, where):
    manifest = json.loads((parts / "parts.json").read_bytes())
    del manifest["sha256"]
    manifest[where][0]["path" if where == "files" else "name"] = name
    seal = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (parts / "parts.json").write_text(json.dumps({**manifest, "sha256": seal}))
    before = read_tree(tmp_path)
    with pytest.raises(DamageError, match=r"parts\.json (contains .*, which `split` never writes|is not a manifest)"):
        join(parts, tmp_path / "out" / "deep")
    assert read_tree(tmp_path) == before


def test_existing_folders_are_not_overwritten(parts, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(OutputError, match=re.escape(str(tmp_path / "full"))):
        join(parts, tmp_path / "full")
    with pytest.raises(OutputError, match=re.escape(str(parts))):
        split([tmp_path / "in"], parts, size=10)
    assert read_tree(tmp_path / "full") == {"mine": b"mine"}


def test_invalid_arguments_are_named(tmp_path):
    (tmp_path / "one").mkdir()
    write_tree(tmp_path, {"one/a": b"1", "two/a": b"2"})
    with pytest.raises(InputError, match="two files have the name a"):
        split([tmp_path / "one" / "a", tmp_path / "two" / "a"], tmp_path / "parts", size=10)
    with pytest.raises(InputError, match="three does not exist; expected a file or a folder"):
        split([tmp_path / "three"], tmp_path / "parts", size=10)
    with pytest.raises(OptionError, match="size is 0 bytes; expected at least 1"):
        split([tmp_path / "one"], tmp_path / "parts", size=0)
    with pytest.raises(InputError, match=r"parts\.json does not exist; expected the folder that `split` wrote"):
        join(tmp_path / "one", tmp_path / "out")


def test_the_command_counts_in_mebibytes(tmp_path, capsys):
    write_tree(tmp_path, {"big/file": bytes(3 * 2**20 + 1)})
    main(["split", str(tmp_path / "big"), "--out", str(tmp_path / "parts"), "--size", "1"])
    assert len(list((tmp_path / "parts").glob("*.part"))) == 4
    main(["join", str(tmp_path / "parts"), "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out.split() == [str(tmp_path / "parts"), str(tmp_path / "out")]
    assert read_tree(tmp_path / "out") == {"big/file": bytes(3 * 2**20 + 1)}


def test_an_error_is_one_line_and_exit_code_one(parts, tmp_path):
    (parts / "0001.part").unlink()
    command = [sys.executable, "-m", "leafkit.models.parts", "join", parts, "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"leafkit: {parts / '0001.part'} is missing. Copy this part again.\n"
