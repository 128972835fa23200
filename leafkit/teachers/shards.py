"""Write the shards of a corpus: any number of processes, each on a machine of its own, and no coordinator.

Each process reads all texts once, to know where its shard begins and which columns the files have.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy

from leafkit.command import command_line
from leafkit.errors import InputError, LeafkitError, OptionError, OutputError, TextError, VectorError
from leafkit.extras import explain_missing_extras
from leafkit.files.atomic import parent_folders
from leafkit.files.digest import sha256_file
from leafkit.files.disk_errors import explain_disk_errors
from leafkit.texts.parquet import parquet_files
from leafkit.texts.record import Text
from leafkit.types import Encoder, Float32, Role
from leafkit.vectors.cached import cached, is_cacheable
from leafkit.vectors.encode import encode_by_role
from leafkit.vectors.shards import Shard, ShardRecord, shard_of
from leafkit.vectors.store import is_exact
from leafkit.vectors.vectors_file_types import SpaceLabel

with explain_missing_extras():
    from leafkit.vectors.corpus_survey import CorpusSurvey
    from leafkit.vectors.vectors_file_parquet import writer_of_columns

CHUNK = 16_384  # texts of a shard that are encoded and written at a time

Encode = Callable[[Sequence[str], Sequence[Role]], Float32]
log = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class ShardWriter:
    """What all ``count`` shards of a corpus in ``folder`` have in common, and how one is written.

    ``role`` is the role of texts without one, ``precision`` that of the files.
    """

    folder: Path
    count: int
    survey: CorpusSurvey
    role: Role
    precision: str
    overwrite: bool

    def __post_init__(self) -> None:
        """Raise `OptionError` for more shards than texts, and `OutputError` for a folder that is used otherwise."""
        if self.count > self.survey.rows:
            raise OptionError(f"{self.count} shards of {self.survey.rows} texts would leave some empty. Ask for fewer.")
        check_folder(self.folder, self.count)

    def finished(self, shard: Shard, space: str) -> bool:
        """Tell whether ``shard`` is there already, from the same texts and in this ``space``.

        A damaged shard counts as missing, and any does with ``overwrite``. Raises `OutputError` for a shard of other
        texts, of another space or precision.
        """
        if self.overwrite or not shard.record(self.folder).is_file():
            return False
        record = ShardRecord.read(shard.record(self.folder))
        difference = record.differs_in(self._record(shard, space, sha256=record.sha256, size=record.bytes))
        if difference:
            what = {"texts": "of other texts", "space": "of another space"}.get(difference, f"of another {difference}")
            raise OutputError(
                f"shard {shard} in {self.folder} is {what}. Choose another folder or add --overwrite to replace it."
            )
        return record.is_intact(self.folder)

    def write(self, shard: Shard, texts: Iterable[Text], encode: Encode, label: SpaceLabel) -> Path:
        """Encode the ``texts`` of ``shard`` and write its file, then its record; return the path of the file.

        Raises `VectorError` naming the row of a text that cannot be encoded, and `OutputError` while another process
        writes the shard.
        """
        file, rows = shard.file(self.folder), iter(texts)
        first = row = shard.rows(self.survey.rows).start
        with parent_folders(file), explain_disk_errors(file):
            shard.record(self.folder).unlink(missing_ok=True)
            with writer_of_columns(file, label, numpy.dtype(self.precision), self.survey.columns) as write:
                while chunk := list(islice(rows, CHUNK)):
                    roles: list[Role] = [text.role or self.role for text in chunk]
                    write(chunk, roles, encode_chunk(encode, chunk, roles, shard, row))
                    row += len(chunk)
            if row - first != len(shard.rows(self.survey.rows)):
                file.unlink()
                raise InputError(f"the texts of shard {shard} changed while it was made. Run the command again.")
            self._record(shard, label.space.id, sha256=sha256_file(file), size=file.stat().st_size).write(self.folder)
        return file

    def _record(self, shard: Shard, space: str, *, sha256: str, size: int) -> ShardRecord:
        rows = shard.rows(self.survey.rows)
        return ShardRecord(
            shard=shard,
            texts=self.survey.digest,
            total=self.survey.rows,
            first=rows.start,
            rows=len(rows),
            space=space,
            precision=self.precision,
            sha256=sha256,
            bytes=size,
            command=_repeatable(command_line()),
        )


def check_folder(folder: Path, count: int) -> None:
    """Raise `OutputError` unless ``folder`` is missing or holds nothing but shards of ``count``."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; expected a folder for shards. Choose another output path.")
    for file in parquet_files(folder):
        shard = shard_of(file)
        if shard is None or shard.count != count:
            found = "no shard" if shard is None else f"one of {shard.count} shards"
            raise OutputError(
                f"{file} is {found}; expected only shards of {count} in {folder}. Choose another folder or delete it."
            )


def embed_shard(
    read: Callable[[], Iterator[Text]], encoder: Encoder, writer: ShardWriter, shard: Shard, *, cache: Path | None
) -> Path:
    """Encode one shard of the texts that ``read`` yields, unless it is finished; return the path of its file.

    cache: the folder of cached vectors. None keeps them beside the shard until it is finished, so that the processes
        of many shards never wait for each other.
    """
    label = SpaceLabel(space=encoder.space, approximate=not is_exact(encoder))
    rows = shard.rows(writer.survey.rows)
    with _own_cache(writer.folder, shard, cache) as place:
        if writer.finished(shard, encoder.space.id):
            log.info("shard %s is finished already", shard)
            return shard.file(writer.folder)
        source = cached(encoder, place, dtype=writer.precision) if is_cacheable(encoder) else encoder
        return writer.write(shard, islice(read(), rows.start, rows.stop), encode_with(source), label)


def encode_with(encoder: Encoder) -> Encode:
    """Return the function that encodes texts, each in its own role, with ``encoder``."""
    return lambda texts, roles: encode_by_role(encoder, texts, roles, source="the encoder")


@contextlib.contextmanager
def _own_cache(folder: Path, shard: Shard, cache: Path | None) -> Iterator[Path]:
    """Give the folder of cached vectors; one that belongs to the shard is deleted when the shard is finished."""
    own = folder / f".{shard.stem}.cache"
    yield cache or own
    shutil.rmtree(own, ignore_errors=True)


def encode_chunk(encode: Encode, chunk: Sequence[Text], roles: Sequence[Role], shard: Shard, first: int) -> Float32:
    """Encode a chunk of ``shard`` whose first row is ``first``; an error that one text causes names the text."""
    texts = [text.full_text for text in chunk]
    try:
        return encode(texts, roles)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, LeafkitError) and not isinstance(error, TextError | VectorError):
            raise
        row, cause = _culprit(encode, texts, roles)
        if row is None:
            raise
        raise VectorError(
            f"shard {shard}: the encoder fails on the text of row {first + row + 1:,} (id {chunk[row].id!r}, "
            f"{texts[row][:60]!r}): {cause}. Correct or remove the text and run the command again."
        ) from error


def _culprit(encode: Encode, texts: Sequence[str], roles: Sequence[Role]) -> tuple[int | None, Exception | None]:
    """Return the first text on which ``encode`` fails alone, found by halving, and the error; None if there is none."""
    rows: range = range(len(texts))
    cause = None
    while True:
        half = rows[: max(1, len(rows) // 2)]
        try:
            encode([texts[row] for row in half], [roles[row] for row in half])
        except Exception as error:
            cause = error
            if len(half) == 1:
                return half[0], cause
            rows = half
        else:
            rows = rows[len(half) :]
            if not rows:
                return None, cause


def _repeatable(command: str) -> str:
    """Return ``command`` with ``{shard}`` for the shard that it names, and without --overwrite; empty if it is none."""
    if not re.search(r"\bembed\b.* --(shard|ray)\b", command):
        return ""
    return re.sub(r"(--shard[ =])\S+", r"\1{shard}", command).replace(" --overwrite", "")
