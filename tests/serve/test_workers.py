"""The workers: order, equal tasks, the limit on what waits, and clients that go away."""

import asyncio
import threading

import pytest

from leafkit.serve.replies import RequestError
from leafkit.serve.workers import Task, Workers


def run(steps, *, threads=1, queue=100):
    """Run ``steps(workers)`` with workers that are started and stopped."""

    async def inside():
        async with Workers(threads, queue) as workers:
            result = await steps(workers)
        return result, workers

    return asyncio.run(inside())


class Blocked:
    """A task that computes until it is let go; ``started`` is set when a worker has it."""

    def __init__(self):
        self.started, self.let_go = threading.Event(), threading.Event()

    def __call__(self):
        self.started.set()
        assert self.let_go.wait(10)
        return "blocked"

    async def until_started(self):
        assert await asyncio.to_thread(self.started.wait, 10)


def test_results_come_in_the_order_of_the_tasks_from_any_number_of_threads():
    async def steps(workers):
        numbers = [await workers.run([Task(lambda n=n: n * n) for n in range(start, start + 50)]) for start in (0, 50)]
        return [*numbers[0], *numbers[1]]

    for threads in (1, 3):
        found, workers = run(steps, threads=threads)
        assert found == [n * n for n in range(100)]
        assert (workers.computed, workers.unfinished) == (100, 0)


def test_an_error_reaches_the_request_alone():
    async def steps(workers):
        failing = workers.run([Task(lambda: 1), Task(lambda: 1 // 0)])
        return await asyncio.gather(failing, workers.run([Task(lambda: 2)]), return_exceptions=True)

    (failed, fine), workers = run(steps)
    assert isinstance(failed, ZeroDivisionError)
    assert fine == [2]
    assert workers.unfinished == 0


def test_a_panic_of_a_library_is_an_error_and_no_end():
    class PanicError(BaseException):
        pass

    def panic():
        raise PanicError("index out of range")

    async def steps(workers):
        with pytest.raises(RuntimeError, match="index out of range"):
            await workers.run([Task(panic)])
        return await workers.run([Task(lambda: 1)])

    assert run(steps)[0] == [1]


def test_equal_tasks_are_computed_once_while_they_wait_and_again_later():
    blocked, computed = Blocked(), []

    async def steps(workers):
        first = asyncio.create_task(workers.run([Task(blocked)]))
        await blocked.until_started()
        same = [asyncio.create_task(workers.run([Task(lambda: computed.append(1), "key")])) for _ in range(5)]
        await asyncio.sleep(0)
        blocked.let_go.set()
        await asyncio.gather(first, *same)
        await workers.run([Task(lambda: computed.append(2), "key")])

    _, workers = run(steps)
    assert computed == [1, 2]
    assert workers.shared == 4


def test_beyond_the_queue_a_request_is_refused_and_told_when_to_repeat():
    blocked = Blocked()

    async def steps(workers):
        first = asyncio.create_task(workers.run([Task(blocked), Task(lambda: 1), Task(lambda: 2, "known")]))
        await blocked.until_started()
        with pytest.raises(RequestError, match="3 texts are waiting, of at most 4") as refused:
            await workers.run([Task(lambda: 3), Task(lambda: 4)])
        # One more fits; an equal task takes no place; a health check is never refused.
        inside = asyncio.gather(
            workers.run([Task(lambda: 5), Task(lambda: 2, "known")]), workers.run([Task(lambda: 6)] * 9, always=True)
        )
        await asyncio.sleep(0)
        blocked.let_go.set()
        return refused.value, await first, await inside

    (refused, first, inside), workers = run(steps, queue=4)
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert first == ["blocked", 1, 2]
    assert inside == [[5, 2], [6] * 9]
    assert workers.unfinished == 0


def test_what_a_client_that_went_away_left_in_the_queue_is_not_computed():
    blocked, computed = Blocked(), []

    async def steps(workers):
        first = asyncio.create_task(workers.run([Task(blocked)]))
        await blocked.until_started()
        gone = asyncio.create_task(workers.run([Task(lambda: computed.append("gone"), "a")]))
        both = [asyncio.create_task(workers.run([Task(lambda: computed.append("both"), "b")])) for _ in range(2)]
        await asyncio.sleep(0)
        gone.cancel()
        both[0].cancel()
        await asyncio.sleep(0)
        again = asyncio.create_task(workers.run([Task(lambda: computed.append("again"), "a")]))
        await asyncio.sleep(0)
        blocked.let_go.set()
        await asyncio.gather(first, both[1], again)

    _, workers = run(steps)
    assert computed == ["both", "again"]
    assert workers.unfinished == 0


def test_stopping_waits_for_what_is_in_work():
    blocked = Blocked()

    async def inside():
        async with Workers(2, 10) as workers:
            work = asyncio.create_task(workers.run([Task(blocked)]))
            await blocked.until_started()
            asyncio.get_running_loop().call_later(0.05, blocked.let_go.set)
        return await work

    assert asyncio.run(inside()) == ["blocked"]
