"""A teacher behind an API. Vectors are paid for once: `VectorStore.fill` keeps each answer as it comes."""

from __future__ import annotations

import copy
import logging
import math
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy

from leafkit.errors import BudgetError, InputError, OptionError
from leafkit.space import Space
from leafkit.teachers.api.address import Endpoint
from leafkit.teachers.api.client import ApiClient, TooLargeError
from leafkit.teachers.api.dialects import PRICES_DATE, read_prices
from leafkit.teachers.api.http import LOOPBACK
from leafkit.teachers.api.limits import HaltedError, Meter, Price, tokens_of_budget
from leafkit.teachers.api.tokens import TokenCounter
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.batches import length_batches
from leafkit.types import Float32, Int64, Role, check_role
from leafkit.vectors.cosine import are_unit, unit_rows
from leafkit.vectors.keys import expand_roles

log = logging.getLogger("leafkit")

# Sent once to a server of unknown width, to learn it and whether vectors have length 1.
PROBES = ["a", "the length of a vector", "another text, to see whether vectors are of length one"]
# What does not apply to a model that runs elsewhere. A training always gives a device.
LOCAL = ("compute", "trust_remote_code", "revision", "pooling")
SMALLEST_LIMIT = 512  # tokens that nearly every model takes; a server of unknown limit may truncate longer texts


@dataclass(frozen=True, kw_only=True)
class Job:
    """The texts of one request, prompts included: their ``rows`` in the call, and about how many ``tokens``."""

    rows: Int64
    role: Role
    texts: Sequence[str]
    tokens: int

    def halves(self) -> tuple[Job, Job]:
        """Split the job for a server that refuses so many texts."""
        half = len(self.texts) // 2
        first = Job(rows=self.rows[:half], role=self.role, texts=self.texts[:half], tokens=self.tokens // 2)
        rest = self.tokens - first.tokens
        return first, Job(rows=self.rows[half:], role=self.role, texts=self.texts[half:], tokens=rest)


class ApiTeacher:
    """Asks an API for vectors, several requests at a time, within a budget.

    The key is read from the environment when the first request is sent, and is kept nowhere else.
    """

    signals = frozenset({"embeddings", "online"})
    # The longest text of a fingerprint that is sent: longer ones may exceed limits that nobody knows.
    longest_probe = 1000

    def __init__(self, endpoint: Endpoint, options: TeacherOptions) -> None:
        """Use `ApiTeacher.open` instead."""
        self.endpoint = endpoint
        self.options = options
        self.counter = TokenCounter.open(None if options.token_counter is None else Path(options.token_counter))
        self.price = _price(endpoint, options)
        limit = math.inf if options.api_budget is None else tokens_of_budget(options.api_budget, self.price)
        self.meter = Meter(limit=limit)
        self._space: Space | None = None
        self._client: ApiClient | None = None
        self._has_warned = False
        width = options.dimensions or endpoint.facts.width
        if width is not None and (endpoint.facts.width is not None or options.normalised is not None):
            self._space = self._make_space(width, True if options.normalised is None else options.normalised)

    @classmethod
    def open(cls, teacher: str, options: TeacherOptions) -> ApiTeacher:
        """Open the API that ``teacher`` names; nothing is sent yet.

        Raises `OptionError` for a name that leads nowhere, and for an option that does not apply.
        """
        endpoint = Endpoint.parse(teacher)
        options.refuse(LOCAL, kind="a teacher behind an API")
        _check_dimensions(endpoint, options.dimensions)
        return cls(endpoint, options)

    def __repr__(self) -> str:
        return f"ApiTeacher({self.endpoint.name!r})"

    @property
    def is_width_known(self) -> bool:
        """Whether the space is known without a request."""
        return self._space is not None

    @property
    def space(self) -> Space:
        """The space of the vectors. A server of unknown width is asked for three short texts first."""
        if self._space is None:
            counts = self.counter.counts(PROBES)
            probe = Job(rows=numpy.arange(len(PROBES)), role="document", texts=PROBES, tokens=int(counts.sum()))
            found = numpy.concatenate([vectors for _, vectors in self._run(deque([probe]), total=len(PROBES))])
            normalised = self.options.normalised
            self._space = self._make_space(found.shape[1], are_unit(found) if normalised is None else normalised)
        return self._space

    @property
    def limit(self) -> int | None:
        """The most tokens of a text, None if nobody said."""
        return self.options.max_length or self.endpoint.facts.limit

    def with_fields(self, fields: Mapping[str, Any]) -> Self:
        """Return the same teacher with other ``fields`` of its space: a prompt, which is put before the texts."""
        if self.endpoint.roles:
            return self
        other = copy.copy(self)
        other._space = replace(self.space, **fields)
        return other

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of ``texts``, shape (rows, dim), float32, in the order of ``texts``.

        Raises `ApiError` if the API refuses, does not answer or answers with anything else than vectors, `BudgetError`
        if the budget does not last, and `InputError` for a text that is too long. `leafkit.embed` keeps what was
        answered before.
        """
        vectors = numpy.empty((len(texts), self.space.dim), dtype=numpy.float32)
        for rows, found in self.encode_each(texts, expand_roles(check_role(role), len(texts))):
            vectors[rows] = found
        return vectors

    def encode_each(self, texts: Sequence[str], roles: Sequence[Role]) -> Generator[tuple[Int64, Float32]]:
        """Yield the answers as they come: positions in ``texts`` and their vectors, (rows, dim).

        After an error no further request starts; those on their way are still yielded, and then the error is raised.
        Raises as `encode`; texts that are too long are refused before anything is sent.
        """
        space = self.space
        prompted, counts = self.count(texts, roles)
        self.check_lengths(texts, counts)
        if not len(texts):
            return
        self._open_client()  # a missing key is found before anything is announced
        self._warn_of_truncation(int(counts.max()))
        sent, total = self.meter.sent, int(counts.sum())
        words = self.price.words(total, word=self.counter.word)
        log.info("%s: sending %s texts, %s", self.endpoint.name, f"{len(texts):,}", words)
        done = 0
        try:
            for job, vectors in self._run(self._jobs(prompted, roles, counts), total=len(texts)):
                done += len(job.rows)
                yield job.rows, unit_rows(vectors) if space.normalised else vectors
        finally:
            said = self.price.words(self.meter.sent - sent, word="" if self.meter.is_counted else "about")
            counted = "counted by the API" if self.meter.is_counted else "estimated: the API does not count"
            log.info("%s: %s texts answered, %s, %s", self.endpoint.name, f"{done:,}", said, counted)

    def count(self, texts: Sequence[str], roles: Sequence[Role]) -> tuple[list[str], Int64]:
        """Return ``texts`` with their prompts, and about how many tokens each has, shape (texts,)."""
        options = self.options.prompts({})
        known = self._space
        prompts = {role: options[f"{role}_prompt"] if known is None else known.prompt(role) for role in set(roles)}
        prompted = [prompts[role] + text for text, role in zip(texts, roles, strict=True)]
        return prompted, self.counter.counts(prompted)

    def too_long(self, counts: Int64) -> Int64:
        """Return the positions of the texts that exceed the model's limit, shape (rows,)."""
        if self.limit is None or self.options.long_texts == "send":
            return numpy.empty(0, dtype=numpy.int64)
        return numpy.flatnonzero(counts > self.limit)

    def check_lengths(self, texts: Sequence[str], counts: Int64) -> None:
        """Raise `InputError` naming the first of the ``texts`` that exceed the model's limit of tokens."""
        long = self.too_long(counts)
        if not len(long):
            return
        first = int(long[0])
        advice = "Split" if self.counter.tokenizer else "Count exactly with --token-counter tokenizer.json, split"
        raise InputError(
            f"{len(long):,} of {len(texts):,} texts exceed the limit of {self.endpoint.name}: {self.limit:,} tokens. "
            f"The first has {self.counter.word} {counts[first]:,} and begins {texts[first][:60]!r}. Nothing was sent."
            f" {advice} the texts, or let the API truncate or refuse them with --long-texts send."
        )

    def _warn_of_truncation(self, longest: int) -> None:
        if self.limit is None and longest > SMALLEST_LIMIT and not self._has_warned:
            self._has_warned = True
            log.warning(
                "%s: the longest text has %s %s tokens, and the limit of this model is unknown. The server may "
                "truncate texts without a word; set --max-length to refuse long ones.",
                self.endpoint.name,
                self.counter.word,
                f"{longest:,}",
            )

    def _make_space(self, width: int, normalised: bool) -> Space:
        options, endpoint = self.options, self.endpoint
        if endpoint.roles and (options.query_prompt or options.document_prompt):
            raise OptionError(
                f"{endpoint.name} tells roles apart by {endpoint.dialect.role}, so a prompt does not apply. Remove "
                "query_prompt and document_prompt."
            )
        return Space(
            **options.identity(endpoint.name, endpoint.identity),
            **options.prompts({}),
            dim=width,
            normalised=normalised,
            pooling="api",
            max_length=None,  # a limit refuses texts here and truncates none, so it changes no vector
        )

    def _jobs(self, texts: Sequence[str], roles: Sequence[Role], counts: Int64) -> deque[Job]:
        dialect, jobs = self.endpoint.dialect, deque[Job]()
        rows_of_request = min(self.options.teacher_batch_size or dialect.most_texts, dialect.most_texts)
        for role in sorted(set(roles)):
            own = numpy.array([row for row, of_row in enumerate(roles) if of_row == role], dtype=numpy.int64)
            for batch in length_batches(counts[own], tokens=dialect.most_tokens, rows=rows_of_request):
                rows = own[batch]
                jobs.append(
                    Job(rows=rows, role=role, texts=[texts[int(row)] for row in rows], tokens=int(counts[rows].sum()))
                )
        return jobs

    def _run(self, jobs: deque[Job], *, total: int) -> Iterator[tuple[Job, Float32]]:
        """Yield each job with its vectors as the answers come; raise the first error after the last answer."""
        failure: BaseException | None = None
        pending: dict[Future[Float32], Job] = {}
        client = self._open_client()
        with ThreadPoolExecutor(self.options.concurrency) as pool, client.cooldown.halted_at_end():
            while True:
                try:
                    while jobs and failure is None and len(pending) < self.options.concurrency:
                        self._reserve(jobs, total)
                        pending[pool.submit(self._ask, client, jobs[0])] = jobs[0]
                        jobs.popleft()
                    if not pending:
                        break
                    finished = wait(pending, return_when=FIRST_COMPLETED).done
                except BudgetError as error:
                    failure = error
                    continue
                except KeyboardInterrupt as error:
                    if failure is not None:  # pressed again, or after an error
                        client.hang_up()
                        raise
                    failure, finished = error, set()
                    client.cooldown.halt.set()
                    log.info("waiting for %s requests on their way; Ctrl-C again does not wait", len(pending))
                for future in finished:
                    job, error = pending.pop(future), future.exception()
                    if error is None:
                        yield job, future.result()
                    elif isinstance(error, TooLargeError) and len(job.rows) > 1 and failure is None:
                        jobs.extendleft(job.halves())
                    elif not isinstance(error, HaltedError):
                        failure = failure or error
                        client.cooldown.halt.set()
        if failure is not None:
            raise failure

    def _ask(self, client: ApiClient, job: Job) -> Float32:
        used, answered = None, False
        dim = None if self._space is None else self._space.dim
        try:
            vectors, used = client.vectors(job.texts, job.role, dim=dim, tokens=job.tokens)
            answered = True
            return vectors
        finally:
            self.meter.settle(job.tokens, used, answered=answered)

    def _reserve(self, jobs: Sequence[Job], total: int) -> None:
        """Set the tokens of the next job aside; raise `BudgetError` saying what is left if the budget does not last."""
        if self.meter.reserve(jobs[0].tokens):
            return
        texts, tokens = sum(len(job.rows) for job in jobs), sum(job.tokens for job in jobs)
        raise BudgetError(
            f"the budget of {self.options.api_budget} for {self.endpoint.name} does not last for the next request: "
            f"{total - texts:,} of {total:,} texts are done, and {texts:,} are left "
            f"({self.price.words(tokens, word=self.counter.word)}). What was answered is kept: run the same command "
            "again to go on."
        )

    def _open_client(self) -> ApiClient:
        if self._client is None:
            key, address = self.endpoint.key(), self.endpoint.address
            if key and not address.secure and address.host not in LOOPBACK:
                log.warning("the key in %s goes to %s unencrypted", self.endpoint.key_variable, address)
            self._client = ApiClient(
                endpoint=self.endpoint,
                dimensions=self.options.dimensions,
                truncate=self.options.long_texts == "send",
                patience=self.options.patience,
                key=key,
            )
        return self._client


def _price(endpoint: Endpoint, options: TeacherOptions) -> Price:
    own = {} if options.prices is None else read_prices(Path(options.prices))
    for name in (endpoint.name, endpoint.model):
        if name in own:
            return Price(per_million=own[name], source=f"prices of {options.prices}")
    return Price(per_million=endpoint.facts.price, source=f"prices of {PRICES_DATE}")


def _check_dimensions(endpoint: Endpoint, dimensions: int | None) -> None:
    facts = endpoint.facts
    if dimensions is None or facts.width is None:
        return
    if facts.widths is not None and dimensions not in facts.widths:
        known = f"one of {', '.join(map(str, facts.widths))}" if facts.widths else "none: the width is fixed"
        raise OptionError(f"dimensions is {dimensions}, but {endpoint.name} takes {known}.")
    if facts.widths is None and dimensions > facts.width:
        raise OptionError(f"dimensions is {dimensions}; expected at most {facts.width}, the width of {endpoint.name}.")
