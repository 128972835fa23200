"""Which rows a shard has, and which names of shards are refused."""

import json
import re
from itertools import pairwise

import pytest

from leafkit.errors import DamageError, OptionError
from leafkit.files.json_file import read_json_object
from leafkit.vectors.shards import Shard, ShardRecord

RECORD = ShardRecord(
    shard=Shard(2, 3), texts="ab", total=10, first=3, rows=3, space="s", precision="float16", sha256="c", bytes=5,
    command="leafkit embed a.jsonl --shard {shard}",
)  # fmt: skip


@pytest.mark.parametrize(("total", "count"), [(10, 3), (16, 16), (1_000_003, 16)])
def test_shards_cover_every_row_once_and_differ_by_at_most_one_row(total, count):
    parts = [Shard(number, count).rows(total) for number in range(1, count + 1)]
    assert all(one.stop == two.start for one, two in pairwise(parts))
    assert (parts[0].start, parts[-1].stop) == (0, total)
    assert {len(part) for part in parts} <= {total // count, total // count + 1}


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "3/", "-1/4", "1/100000", "a/b", "1/4 "])
def test_a_shard_that_does_not_exist_is_refused(text):
    with pytest.raises(OptionError, match=re.escape(f"shard is {text!r}; expected NUMBER/COUNT")):
        Shard.parse(text)


def test_a_record_is_read_back_and_another_file_is_refused(tmp_path):
    RECORD.write(tmp_path)
    path = RECORD.shard.record(tmp_path)
    assert ShardRecord.read(path) == RECORD
    assert RECORD.command_for(Shard(3, 3), tmp_path) == "leafkit embed a.jsonl --shard 3/3"
    fields = read_json_object(path)
    for name, value in (
        ("rows", 4),
        ("rows", "3"),
        ("shard", {"number": 4, "count": 3}),
        ("shard", {"number": 1, "count": 0}),
        ("version", 2),
    ):
        path.write_text(json.dumps({**fields, name: value}))
        with pytest.raises(DamageError, match=r"is not the record of a shard .*Delete .* and make the shard again"):
            ShardRecord.read(path)
