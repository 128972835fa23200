"""Shards: the rows of one vectors file as n Parquet files in a folder, each made by a process of its own.

Shard 3 of 16 is ``shard-00003-of-00016.parquet``, with a record in ``shard-00003-of-00016.manifest`` beside it. The
record appears last, so a shard with a record is finished. Shards hold consecutive rows, so that the files in the order
of their names are the corpus in its order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leafkit.errors import DamageError, InputError, OptionError, SpaceError
from leafkit.files.atomic import write_json
from leafkit.files.digest import sha256_file
from leafkit.files.json_file import explain_invalid, read_json_object
from leafkit.files.progress import progress
from leafkit.texts.parquet import parquet_files

FORMAT, VERSION = "leafkit-shard", 1
RECORD = ".manifest"
MOST = 99_999
_NAME = re.compile(r"shard-(\d{5})-of-(\d{5})")
_NAMED = 5  # shards that one message names
_SHARD = "{shard}"  # stands for the shard in a recorded command


@dataclass(frozen=True, order=True)
class Shard:
    """The ``number``-th of ``count`` shards; numbers begin with 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that ``text`` names, e.g. ``3/16``; raise `OptionError` for anything else."""
        match = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
        shard = cls(*map(int, match.groups())) if match else None
        if shard is None or not 1 <= shard.number <= shard.count:
            raise OptionError(
                f"shard is {text!r}; expected NUMBER/COUNT with a number from 1 to the count, e.g. 3/16, and at most "
                f"{MOST:,} shards."
            )
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def stem(self) -> str:
        """The name of the shard's files without their suffix."""
        return f"shard-{self.number:05}-of-{self.count:05}"

    def file(self, folder: Path) -> Path:
        """Return the path of the shard's Parquet file in ``folder``."""
        return folder / f"{self.stem}.parquet"

    def record(self, folder: Path) -> Path:
        """Return the path of the shard's record in ``folder``."""
        return folder / f"{self.stem}{RECORD}"

    def rows(self, total: int) -> range:
        """Return the rows of the shard, out of the ``total`` rows of a corpus."""
        return range((self.number - 1) * total // self.count, self.number * total // self.count)


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What the record of a finished shard says.

    texts: the hash of all texts of the corpus; total: their number.
    first, rows: the first row of the shard in the corpus, and the number of its rows.
    space: the id of the space of the vectors; precision: float16 or float32.
    sha256, bytes: the hash and the size of the Parquet file.
    command: the command that made the shard, with ``{shard}`` in place of its own; empty if it was no command.
    """

    shard: Shard
    texts: str
    total: int
    first: int
    rows: int
    space: str
    precision: str
    sha256: str
    bytes: int
    command: str

    def write(self, folder: Path) -> None:
        """Write the record beside the shard's file in ``folder``. Equal shards have equal records, byte for byte."""
        write_json(self.shard.record(folder), {"format": FORMAT, "version": VERSION, **asdict(self)})

    @classmethod
    def read(cls, path: Path) -> ShardRecord:
        """Read the record at ``path``; raise `DamageError` for a file that leafkit did not write."""
        advice = f"Delete {path} and make the shard again."
        with explain_invalid(path, expected="the record of a shard", advice=advice):
            fields = read_json_object(path)
            if (fields.pop("format"), fields.pop("version")) != (FORMAT, VERSION):
                raise ValueError(f"expected {FORMAT} of version {VERSION}")
            shard = Shard(**fields.pop("shard"))
            kinds = {name: int if name in ("total", "first", "rows", "bytes") else str for name in _FIELDS}
            record = cls(shard=shard, **{name: _typed(fields, name, kind) for name, kind in kinds.items()})
            if not 1 <= shard.number <= shard.count <= MOST:
                raise ValueError(f"there is no shard {shard}")
            rows = shard.rows(record.total)
            if (record.first, record.rows) != (rows.start, len(rows)):
                raise ValueError(f"the rows do not fit shard {shard} of {record.total} texts")
        return record

    def differs_in(self, other: ShardRecord) -> str:
        """Return in what two shards cannot belong together: ``space``, ``texts``, ``count``, ``precision`` or nothing.

        The most telling difference comes first.
        """
        pairs = {
            "texts": (self.texts, other.texts),
            "space": (self.space, other.space),
            "count": (self.shard.count, other.shard.count),
            "precision": (self.precision, other.precision),
        }
        return next((name for name, (one, two) in pairs.items() if one != two), "")

    def command_for(self, shard: Shard, folder: Path) -> str:
        """Return the command that makes ``shard`` of the same corpus in ``folder``."""
        if _SHARD in self.command:
            return self.command.replace(_SHARD, str(shard))
        return self.command or f"leafkit embed TEXTS --encoder ENCODER --shard {shard} --out {folder}"

    def is_intact(self, folder: Path) -> bool:
        """Tell whether the shard's file in ``folder`` is there and has the recorded content."""
        file = self.shard.file(folder)
        return file.is_file() and file.stat().st_size == self.bytes and sha256_file(file) == self.sha256


_FIELDS = [name for name in ShardRecord.__dataclass_fields__ if name != "shard"]


def _typed(fields: dict[str, Any], name: str, kind: type) -> Any:
    if type(fields[name]) is not kind:
        raise TypeError(f"{name} is {fields[name]!r}")
    return fields[name]


def shard_of(path: Path) -> Shard | None:
    """Return the shard that a file's name stands for; None for another name."""
    match = _NAME.fullmatch(path.stem)
    return Shard(int(match[1]), int(match[2])) if match else None


def is_shards(folder: Path) -> bool:
    """Tell whether ``folder`` holds shards or their records."""
    return folder.is_dir() and any(
        path.suffix == RECORD or (path.suffix == ".parquet" and shard_of(path)) for path in folder.iterdir()
    )


def check_shards(folder: Path) -> list[ShardRecord]:
    """Return the records of all shards in ``folder``, in order, after reading every byte of them.

    Raises `InputError` naming the shards that are missing, unfinished or there twice, or that are of other texts or of
    another number of shards, and the commands that make them; `SpaceError` for one of another space; `DamageError` for
    one whose file changed.
    """
    records = _read_records(folder)
    _check_belonging(records, folder)
    _check_complete(records, folder)
    with progress("checking shards", total=sum(record.bytes for record in records), unit="bytes") as bar:
        for record in records:
            if not record.is_intact(folder):
                raise DamageError(
                    f"shard {record.shard} is damaged: {record.shard.file(folder)} differs from its record. "
                    f"Make it again: {_with_overwrite(record.command_for(record.shard, folder))}"
                )
            bar.update(record.bytes)
    return records


def _read_records(folder: Path) -> list[ShardRecord]:
    """Return the records in ``folder`` in order; raise `InputError` for a shard that is there under two names."""
    records: dict[Path, ShardRecord] = {}
    for path in sorted(folder.glob(f"*{RECORD}")):
        record = records[path] = ShardRecord.read(path)
        if path != record.shard.record(folder):
            raise InputError(
                f"shard {record.shard} is there twice: {path} is a record of it as well; expected only "
                f"{record.shard.record(folder).name}. Delete {path.stem}.* and, if that was another shard, make it "
                f"again: {record.command_for(shard_of(path) or record.shard, folder)}"
            )
    for file in parquet_files(folder):
        if file.with_suffix(RECORD) not in records:
            _refuse_unrecorded(file, list(records.values()))
    return list(records.values())


def _refuse_unrecorded(file: Path, records: Sequence[ShardRecord]) -> None:
    shard, command = shard_of(file), ""
    if shard is None:
        raise InputError(
            f"{file} is no shard by its name, but lies among shards: a copy would be in the index twice. Move it out "
            "of the folder."
        )
    if records:
        command = f": {records[0].command_for(shard, file.parent)}"
    raise InputError(
        f"shard {shard} is not finished: {file} has no record {file.with_suffix(RECORD).name}. Run the command that "
        f"makes it again{command or '.'}"
    )


def _check_belonging(records: Sequence[ShardRecord], folder: Path) -> None:
    """Raise an error for a shard that does not belong to what most of the shards are part of."""
    kinds = Counter((record.texts, record.space, record.shard.count, record.precision) for record in records)
    ((usual, _),) = kinds.most_common(1)
    expected = next(r for r in records if (r.texts, r.space, r.shard.count, r.precision) == usual)
    for record in records:
        difference = record.differs_in(expected)
        if not difference:
            continue
        found = {
            "texts": "was made from other texts than",
            "space": f"has vectors of the space {record.space}, but {expected.space} is the space of",
            "count": f"is one of {record.shard.count} shards, but there are {expected.shard.count} with",
            "precision": f"has vectors in {record.precision}, but {expected.precision} is the precision of",
        }[difference]
        wanted = Shard(min(record.shard.number, expected.shard.count), expected.shard.count)
        what = f"shard {record.shard} in {folder} {found} shard {expected.shard}."
        if difference == "count":
            raise InputError(f"{what} Delete {record.shard.stem}.*; all shards of a folder come from one count.")
        raise (SpaceError if difference == "space" else InputError)(
            f"{what} Make it again: {_with_overwrite(expected.command_for(wanted, folder))}"
        )


def _check_complete(records: Sequence[ShardRecord], folder: Path) -> None:
    """Raise `InputError` naming the shards that are missing, and the commands that make them."""
    count, there = records[0].shard.count, {record.shard.number for record in records}
    missing = [Shard(number, count) for number in range(1, count + 1) if number not in there]
    if not missing:
        return
    names = ", ".join(map(str, missing[:_NAMED])) + (f" and {len(missing) - _NAMED} more" if missing[_NAMED:] else "")
    commands = dict.fromkeys(records[0].command_for(shard, folder) for shard in missing[:_NAMED])
    raise InputError(f"{folder} has {len(records)} of {count} shards; missing: {names}. Make them:" + _lines(commands))


def _lines(commands: Iterable[str]) -> str:
    return "".join(f"\n  {command}" for command in commands)


def _with_overwrite(command: str) -> str:
    return command if "--overwrite" in command else f"{command} --overwrite"
