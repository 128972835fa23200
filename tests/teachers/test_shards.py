"""Shards of a corpus: together they are the file that one process writes, and only a whole folder is joined."""

import json
import shutil

import pytest
from pyarrow import concat_tables, parquet

import leafkit
from leafkit.errors import DamageError, InputError, OptionError, OutputError, SpaceError, VectorError
from leafkit.teachers import shards as module
from leafkit.teachers.embed import embed
from leafkit.vectors.shards import check_shards, is_shards

COUNT = 4
COMMAND = "leafkit embed texts.jsonl --encoder x --shard {} --out shards"


@pytest.fixture
def texts(tmp_path):
    """Texts of both roles, of which only the last has a title and a year."""
    rows = [{"_id": f"d{i}", "text": f"text {i}"} for i in range(40)] + [{"text": "text 1", "role": "query"}]
    rows += [{"_id": "titled", "title": "A title", "text": "with text", "year": 2020}]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def make(texts, tmp_path, hash_teacher, monkeypatch):
    """Embed shards as the command would, the i-th of a count."""

    def make_shards(numbers=range(1, COUNT + 1), count=COUNT, teacher=None, folder="shards", source=texts, **options):
        for number in numbers:
            monkeypatch.setattr(module, "command_line", lambda number=number: COMMAND.format(f"{number}/{count}"))
            embed(source, teacher or hash_teacher(), tmp_path / folder, shard=f"{number}/{count}", **options)
        return tmp_path / folder

    return make_shards


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("count", [1, 4])
def test_the_shards_together_are_the_file_of_one_process(texts, make, tmp_path, hash_teacher, count):
    whole = parquet.read_table(embed(texts, hash_teacher(), tmp_path / "whole.parquet"))
    folder = make(range(1, count + 1), count)
    parts = [parquet.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    assert concat_tables(parts) == whole
    assert parts[0].schema.equals(whole.schema, check_metadata=True)
    assert sum(record.rows for record in check_shards(folder)) == 42


def test_a_shard_made_again_is_equal_byte_for_byte_and_a_finished_one_is_not_encoded_again(make, hash_teacher):
    first, teacher = content(make()), hash_teacher()
    assert content(make(teacher=teacher)) == first
    assert not teacher.encoded
    assert content(make(teacher=teacher, overwrite=True)) == first
    assert len(teacher.encoded) == 42
    assert len(first) == 2 * COUNT


def test_a_cache_that_was_left_when_its_shard_was_finished_is_removed(make):
    left = make([2]) / f".shard-00002-of-{COUNT:05}.cache"
    left.mkdir()
    make([2])
    assert not left.exists()


def test_a_shard_that_was_stopped_continues_from_its_own_cache(make, hash_teacher, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 4)
    teacher = hash_teacher()
    encode = teacher.encode

    def stopped(texts, role):
        if len(teacher.encoded) >= 8:
            raise KeyboardInterrupt
        return encode(texts, role)

    teacher.encode = stopped
    with pytest.raises(KeyboardInterrupt):
        make([2], teacher=teacher)
    second = hash_teacher()
    folder = make([2], teacher=second)
    assert len(teacher.encoded) + len(second.encoded) == 11
    assert sorted(content(folder)) == ["shard-00002-of-00004.manifest", "shard-00002-of-00004.parquet"]


def test_a_text_that_cannot_be_encoded_is_named_and_costs_no_other_shard(make, hash_teacher):
    teacher = hash_teacher()
    encode = teacher.encode

    def failing(texts, role):
        if "text 27" in texts:
            raise RuntimeError("the kernel failed")
        return encode(texts, role)

    teacher.encode = failing
    make([1, 2, 4], teacher=teacher)
    message = r"shard 3/4: the encoder fails on the text of row 28 \(id 'd27', 'text 27'\): the kernel failed\. Correct"
    with pytest.raises(VectorError, match=message):
        make([3], teacher=teacher)
    folder = make([3])
    assert len(check_shards(folder)) == COUNT


def test_a_failure_that_no_text_causes_is_passed_on(make, hash_teacher):
    teacher, calls = hash_teacher(), []

    def failing(texts, role):
        calls.append(texts)
        if len(calls) == 1:
            raise RuntimeError("once")
        return hash_teacher().encode(texts, role)

    teacher.encode = failing
    with pytest.raises(RuntimeError, match="once"):
        make([1], teacher=teacher)


def test_an_index_of_the_shards_is_the_index_of_the_file(texts, make, tmp_path, hash_teacher):
    whole = embed(texts, hash_teacher(), tmp_path / "whole.parquet")
    indexes = [
        leafkit.build_index(source, None, tmp_path / f"{number}.index", precision="int8")
        for number, source in enumerate((whole, make()))
    ]
    one, two = (content(index) for index in indexes)
    assert {**one, "manifest.json": b""} == {**two, "manifest.json": b""}
    found = leafkit.Searcher.open(indexes[1]).search(hash_teacher().encode(["A title with text"], "document"), k=1)[0]
    assert (found.ids, found.payload[0]["year"]) == (["titled"], 2020)


def refused(folder, error, message):
    with pytest.raises(error, match="(?s)" + message):
        leafkit.build_index(folder, None, folder.with_name("index"))
    assert not folder.with_name("index").exists()


def test_missing_shards_are_named_with_their_commands(make):
    folder = make([1, 4])
    refused(folder, InputError, r"has 2 of 4 shards; missing: 2/4, 3/4\. Make them:\n  leafkit embed .* --shard 2/4 ")
    folder.joinpath("shard-00001-of-00004.manifest").unlink()
    refused(folder, InputError, r"shard 1/4 is not finished: .* Run the command that makes it again: .*--shard 1/4 ")


def test_a_shard_that_is_there_twice_is_named(make):
    folder = make()
    for suffix in (".parquet", ".manifest"):
        shutil.copy(folder / f"shard-00002-of-00004{suffix}", folder / f"shard-00003-of-00004{suffix}")
    refused(folder, InputError, r"shard 2/4 is there twice: .*shard-00003-of-00004\.manifest .*--shard 3/4 ")
    make([3], overwrite=True)
    shutil.copy(folder / "shard-00002-of-00004.parquet", folder / "copy.parquet")
    refused(folder, InputError, r"copy\.parquet is no shard by its name")


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ("space", SpaceError, r"shard 3/4 in .* has vectors of the space .*--shard 3/4 --out shards --overwrite"),
        ("texts", InputError, r"shard 3/4 in .* was made from other texts than shard 1/4\. .*--shard 3/4 "),
        ("precision", InputError, r"shard 3/4 in .* has vectors in float32, but float16 .*--shard 3/4 "),
        ("count", InputError, r"shard 1/3 in .* is one of 3 shards, but there are 4 .*shard-00001-of-00003\.\*"),
    ],
)
def test_a_shard_of_something_else_is_named(make, tmp_path, hash_teacher, changed, error, message):
    folder = make()
    other = tmp_path / "other.jsonl"
    other.write_text("".join(f'{{"text": "other {i}"}}\n' for i in range(42)))
    options = {
        "space": {"teacher": hash_teacher(name="another")},
        "texts": {"source": other},
        "precision": {"precision": "float32"},
        "count": {"count": 3},
    }[changed]
    made = make([1 if changed == "count" else 3], folder="others", **options)
    shutil.copytree(made, folder, dirs_exist_ok=True)
    refused(folder, error, message)


def test_a_changed_byte_is_found(make):
    folder = make()
    file = folder / "shard-00003-of-00004.parquet"
    damaged = bytearray(file.read_bytes())
    damaged[100] ^= 1
    file.write_bytes(damaged)
    refused(folder, DamageError, r"shard 3/4 is damaged: .* Make it again: leafkit embed .*--shard 3/4 .*--overwrite")
    assert len(check_shards(make([3]))) == COUNT


def test_a_folder_that_is_used_otherwise_is_refused_before_anything_is_encoded(make, texts, hash_teacher, tmp_path):
    folder, teacher, another = make(), hash_teacher(), hash_teacher(name="another")
    for options, error, message in (
        ({"count": 5}, OutputError, r"is one of 4 shards; expected only shards of 5"),
        ({"count": 43, "folder": "new"}, OptionError, r"43 shards of 42 texts would leave some empty"),
        ({"teacher": another}, OutputError, r"shard 1/4 in .* is of another space\. .*--overwrite"),
        ({"precision": "float32"}, OutputError, r"shard 1/4 in .* is of another precision"),
        ({"folder": "texts.jsonl"}, OutputError, r"texts\.jsonl is a file; expected a folder"),
    ):
        with pytest.raises(error, match=message):
            make([1], **{"teacher": teacher, **options})
    assert not teacher.encoded
    embed(texts, teacher, tmp_path / "plain" / "v.parquet")
    with pytest.raises(OutputError, match=r"v\.parquet is no shard; expected only shards of 4"):
        make(folder="plain")
    assert is_shards(folder)
    assert not is_shards(tmp_path / "plain")
