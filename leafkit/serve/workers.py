"""Threads that compute for all requests, with a bounded queue; equal tasks are computed once.

Texts of several requests are never encoded as one batch. The activations of an int8 student are scaled by the content
of a batch, so the vector of a text would depend on who else is asking. What requests share instead is the way to the
threads and back, and a task that another request is waiting for already.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from leafkit.serve.replies import RequestError

# Results are handed to the event loop together if they are ready within this time, in seconds.
WINDOW = 0.002
# How much the latest task counts in the mean time of a task, from which Retry-After follows.
_NEWEST = 0.02


@dataclass(frozen=True, slots=True)
class Task:
    """A computation, and a ``key`` that equal computations share; None if it is shared with nobody."""

    compute: Callable[[], Any]
    key: Hashable = None


@dataclass(slots=True, eq=False)
class _Waiting:
    """A task in the queue, and the requests that wait for its result."""

    task: Task
    waiters: list[asyncio.Future[Any]] = field(default_factory=list)
    result: Any = None
    error: Exception | None = None
    seconds: float | None = None  # None if it was not computed, because nobody waits for it any more

    def wanted(self) -> bool:
        return any(not waiter.done() for waiter in self.waiters)


class Workers:
    """``threads`` threads that compute tasks, of which at most ``queue`` may be unfinished.

    An asynchronous context manager: the threads run inside the block, in which all calls must be made.
    """

    def __init__(self, threads: int, queue: int) -> None:
        self.threads = threads
        self.unfinished = 0
        self.computed = 0
        self.shared = 0
        self._queue = queue
        self._tasks: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._by_key: dict[Hashable, _Waiting] = {}
        self._mean_seconds = 0.005
        self._running: list[threading.Thread] = []

    async def __aenter__(self) -> Workers:
        loop = asyncio.get_running_loop()
        self._running = [
            threading.Thread(target=self._work, args=(loop,), name=f"leafkit-{number}", daemon=True)
            for number in range(self.threads)
        ]
        for thread in self._running:
            thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for _thread in self._running:
            self._tasks.put(None)
        for thread in self._running:
            await asyncio.to_thread(thread.join)

    async def run(self, tasks: Sequence[Task], *, always: bool = False) -> list[Any]:
        """Return the results of ``tasks`` in order, or raise the first error among them.

        Raises `RequestError` 429 if the queue has no room for them, unless ``always``. Cancelling the call takes those
        tasks out of the queue for which no other request waits.
        """
        new = sum(task.key is None or task.key not in self._by_key for task in tasks)
        if not always and self.unfinished + new > self._queue:
            seconds = max(1, math.ceil(self.unfinished * self._mean_seconds / self.threads))
            raise RequestError(
                429,
                f"the server is busy: {self.unfinished} texts are waiting, of at most {self._queue}. "
                f"Repeat the request in {seconds} s.",
                {"retry-after": str(seconds)},
            )
        futures = [self._submit(task) for task in tasks]
        try:
            return await asyncio.gather(*futures)
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def _submit(self, task: Task) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting = None if task.key is None else self._by_key.get(task.key)
        # One that nobody waits for any more may be skipped by its thread at this moment.
        if waiting is not None and waiting.wanted():
            self.shared += 1
            waiting.waiters.append(future)
            return future
        waiting = _Waiting(task, [future])
        if task.key is not None:
            self._by_key[task.key] = waiting
        self.unfinished += 1
        self._tasks.put(waiting)
        return future

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Compute tasks until a None comes, which is for one thread."""
        done: list[_Waiting] = []
        since = time.perf_counter()
        while (waiting := self._tasks.get()) is not None:
            begun = time.perf_counter()
            since = since if done else begun
            if waiting.wanted():
                try:
                    waiting.result = waiting.task.compute()
                except Exception as error:  # raised in the request
                    waiting.error = error
                except BaseException as error:  # a panic of a library in Rust must not end the event loop
                    waiting.error = RuntimeError(f"a library failed: {error}")
                waiting.seconds = time.perf_counter() - begun
            done.append(waiting)
            if self._tasks.empty() or time.perf_counter() - since > WINDOW:
                loop.call_soon_threadsafe(self._finish, done)
                done = []
        if done:
            loop.call_soon_threadsafe(self._finish, done)

    def _finish(self, done: Sequence[_Waiting]) -> None:
        """Give the results to those who wait; called in the event loop."""
        for waiting in done:
            self.unfinished -= 1
            if self._by_key.get(waiting.task.key) is waiting:
                del self._by_key[waiting.task.key]
            if waiting.seconds is not None:
                self.computed += 1
                self._mean_seconds += _NEWEST * (waiting.seconds - self._mean_seconds)
            for future in waiting.waiters:
                if future.done():
                    continue
                if waiting.error is not None:
                    future.set_exception(waiting.error)
                else:
                    future.set_result(waiting.result)
