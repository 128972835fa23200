"""Let the workers of a Ray cluster encode the shards of a corpus, and write each shard here when it is encoded.

Ray spreads the work and starts dead workers again; what is finished is known by the shards alone. This process reads
the texts, hands each worker the texts of a shard, and writes the file of the shard, so that the machines of the
workers need the encoder, but neither the texts nor the output folder.

Actors of Ray's core and not Ray Data: a pipeline of Ray Data writes nothing before its first blocks have passed all of
it, and an exception about one text ends the whole pipeline.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import InputError, LeafkitError
from leafkit.extras import import_optional
from leafkit.files.progress import progress
from leafkit.search.arrays import blocks_of
from leafkit.shipped import resolve_student
from leafkit.space import Space, require_same
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.teachers.shard_options import ShardOptions
from leafkit.teachers.shards import CHUNK, ShardWriter, encode_chunk, encode_with
from leafkit.texts.record import Text
from leafkit.types import Encoder, Role
from leafkit.vectors.check import check_vectors
from leafkit.vectors.shards import Shard
from leafkit.vectors.store import is_exact
from leafkit.vectors.vectors_file_types import SpaceLabel

LOCAL = "local"
QUEUED = 2  # shards that a worker has at a time, so that it need not wait while this process writes
RETRIES = 3  # how often Ray gives a shard to a worker again that died with it
PATIENCE = 60.0  # seconds without any worker after which the log says so

log = logging.getLogger("leafkit")


@dataclass(frozen=True)
class Failure:
    """Why a worker could not do what it was asked."""

    message: str


class Worker:
    """What runs on a machine of the cluster: an encoder, opened when it is first needed.

    Errors are returned and not raised, because Ray wraps an exception and takes it for a reason to retry.
    """

    def __init__(self, encoder: str, opening: TeacherOptions, precision: str) -> None:
        """Encode with ``encoder``, which `open_with` opens with ``opening``; vectors have ``precision``."""
        self._name, self._opening, self._precision = encoder, opening, precision
        self._encoder: Encoder | None = None

    def label(self) -> SpaceLabel | Failure:
        """Return the label of the vectors that this worker makes."""
        try:
            encoder = self._open()
        except Exception as error:
            return Failure(_message(error))
        return SpaceLabel(space=encoder.space, approximate=not is_exact(encoder))

    def encode(
        self, shard: Shard, first: int, texts: Sequence[Text], roles: Sequence[Role], space: Space
    ) -> NDArray[Any] | Failure:
        """Return the vectors of ``texts``, the rows of ``shard`` from ``first`` on, (rows, dim), in ``space``."""
        try:
            encoder = self._open()
            require_same(space, encoder.space, expected_by="the first worker", got_from="another worker")
            encode, vectors = encode_with(encoder), []
            for start in range(0, len(texts), CHUNK):
                rows = slice(start, start + CHUNK)
                vectors.append(encode_chunk(encode, texts[rows], roles[rows], shard, first + start))
            return numpy.concatenate(vectors).astype(self._precision)
        except Exception as error:
            return Failure(_message(error))

    def _open(self) -> Encoder:
        if self._encoder is None:
            self._encoder = open_with(self._name, self._opening)
        return self._encoder


def embed_with_ray(
    texts: Iterator[Text], encoder: str, opening: TeacherOptions, writer: ShardWriter, sharding: ShardOptions
) -> Path:
    """Encode all shards of ``texts`` that are not finished, and return their folder.

    Raises `InputError` naming the shards that failed, after all others are finished.
    """
    ray = import_optional("ray")
    own = not ray.is_initialized()
    if own:
        _connect(ray, sharding)
    try:
        workers = _start(ray, _absolute(encoder), opening, writer.precision, sharding)
        label = _first_label(ray, workers)
        failures = _Spread(ray, workers, writer, label).run(texts)
    finally:
        if own:
            ray.shutdown()
    if failures:
        raise InputError(
            f"{len(failures)} of {writer.count} shards could not be made; the others are in {writer.folder}:"
            + "".join(f"\n  {failure}" for failure in failures)
            + "\nRun the same command again when the cause is removed: finished shards are skipped."
        )
    return writer.folder


class _Spread:
    """Give shards to workers and write what they return, with at most two shards at a time for each worker."""

    def __init__(self, ray: Any, workers: Sequence[Any], writer: ShardWriter, label: SpaceLabel) -> None:
        self._ray, self._writer, self._label = ray, writer, label
        self._idle = [worker for worker in workers for _ in range(QUEUED)]
        self._running: dict[Any, tuple[Shard, list[Text], Any]] = {}
        self._failures: list[str] = []

    def run(self, texts: Iterator[Text]) -> list[str]:
        """Encode all shards of ``texts``, and return why some could not be."""
        total, space = self._writer.survey.rows, self._label.space
        with progress("encode", total=total, unit="texts") as bar:
            for number in range(1, self._writer.count + 1):
                shard = Shard(number, self._writer.count)
                rows = shard.rows(total)
                own = list(islice(texts, len(rows)))
                if self._writer.finished(shard, space.id):
                    bar.update(len(rows))
                    continue
                if not self._idle:
                    bar.update(self._collect())
                worker = self._idle.pop()
                roles = [text.role or self._writer.role for text in own]
                self._running[worker.encode.remote(shard, rows.start, own, roles, space)] = (shard, own, worker)
            while self._running:
                bar.update(self._collect())
        return self._failures

    def _collect(self) -> int:
        """Wait for one shard and write it; return the number of its rows."""
        (done,), _ = self._ray.wait(list(self._running), num_returns=1)
        shard, texts, worker = self._running.pop(done)
        self._idle.insert(0, worker)
        try:
            found = self._ray.get(done)
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
            found = Failure(f"shard {shard}: its worker died {RETRIES + 1} times ({reason}). Look into Ray's log.")
        if isinstance(found, Failure):
            self._failures.append(found.message)
            log.warning("%s", found.message)
            return len(texts)
        source = f"the vectors of shard {shard}"
        vectors = check_vectors(found, rows=len(texts), dim=self._label.space.dim, source=source)
        blocks = blocks_of(vectors, size=CHUNK)
        self._writer.write(shard, texts, lambda *_: next(blocks), self._label)
        return len(texts)


def _connect(ray: Any, sharding: ShardOptions) -> None:
    """Connect to the cluster, or start one on this machine; raise `InputError` if there is none at the address."""
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if sharding.ray == LOCAL:
            ray.init(address=LOCAL, num_cpus=sharding.workers, include_dashboard=False, **quiet)
        else:
            ray.init(address=sharding.ray, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"cannot reach a Ray cluster at {sharding.ray!r} ({error}). Give the address of one that runs, auto on one "
            "of its machines, or local to start one here."
        ) from error


def _start(ray: Any, encoder: str, opening: TeacherOptions, precision: str, sharding: ShardOptions) -> list[Any]:
    remote = ray.remote(num_cpus=1, num_gpus=sharding.gpus_per_worker, max_restarts=-1, max_task_retries=RETRIES)(
        Worker
    )
    return [remote.remote(encoder, opening, precision) for _ in range(sharding.workers)]


def _first_label(ray: Any, workers: Sequence[Any]) -> SpaceLabel:
    """Wait until one worker has opened the encoder, and return the label of its vectors."""
    labels = [worker.label.remote() for worker in workers]
    while not (ready := ray.wait(labels, num_returns=1, timeout=PATIENCE)[0]):
        log.warning("no worker is ready yet; the cluster has %s free", ray.available_resources() or "nothing")
    label = ray.get(ready[0])
    if isinstance(label, Failure):
        raise InputError(f"a worker cannot open the encoder: {label.message}")
    return label


def _absolute(encoder: str) -> str:
    """Make ``encoder`` absolute if it is a path here: a worker runs in another folder."""
    path = resolve_student(encoder)
    return str(path.resolve()) if path.exists() else encoder


def _message(error: Exception) -> str:
    return str(error) if isinstance(error, LeafkitError) else f"{type(error).__name__}: {error}"
