"""HTTP clients that load a server from one process, over connections that stay open."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy

TIMEOUT = 60.0


@dataclass
class Outcome:
    """What some clients saw: ``latencies`` of answers with status 200 in seconds, and how many answers of each status.

    Status 0 counts requests without an answer: a cut connection or a timeout.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Answers with status 200 per second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    @property
    def failures(self) -> int:
        """Requests whose status is not 200."""
        return sum(count for status, count in self.statuses.items() if status != 200)

    def percentile(self, share: float) -> float:
        """Return a percentile of the latencies in milliseconds; NaN without any."""
        return float(numpy.percentile(self.latencies, share)) * 1000 if self.latencies else float("nan")


def bodies(queries: Sequence[str], k: int) -> list[bytes]:
    """Return the body of a search for each query."""
    return [json.dumps({"query": query, "k": k}).encode() for query in queries]


def ask_closed(port: int, texts: Sequence[bytes], *, clients: int, seconds: float, seed: int = 0) -> Outcome:
    """Let each of ``clients`` ask again as soon as it has its answer, for ``seconds``."""
    return asyncio.run(_run(port, texts, clients, seconds, None, seed))


def ask_open(port: int, texts: Sequence[bytes], *, rate: float, clients: int, seconds: float, seed: int = 0) -> Outcome:
    """Send ``rate`` requests per second, evenly spaced, over at most ``clients`` connections, for ``seconds``.

    A latency begins when the request is due, so that waiting for a slow server counts.
    """
    return asyncio.run(_run(port, texts, clients, seconds, rate, seed))


async def _run(
    port: int, texts: Sequence[bytes], clients: int, seconds: float, rate: float | None, seed: int
) -> Outcome:
    outcome, begun = Outcome(), time.perf_counter()
    number = -1

    def due() -> float | None:
        """When the next request is due; None if the time is over."""
        nonlocal number
        number += 1
        at = time.perf_counter() if rate is None else begun + number / rate
        return at if at < begun + seconds else None

    draw = random.Random(seed)
    await asyncio.gather(*(_client(port, lambda: draw.choice(texts), due, outcome) for _ in range(clients)))
    outcome.seconds = time.perf_counter() - begun
    return outcome


async def _client(port: int, pick: Callable[[], bytes], due: Callable[[], float | None], outcome: Outcome) -> None:
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    while (at := due()) is not None:
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        status = 0
        try:
            async with asyncio.timeout(TIMEOUT):
                if streams and streams[0].at_eof():  # the server closed it while it was idle
                    streams[1].close()
                    streams = None
                streams = streams or await asyncio.open_connection("127.0.0.1", port)
                status = await _ask(*streams, pick())
        except (OSError, EOFError, ValueError, TimeoutError):
            if streams:
                streams[1].close()
            streams = None
        outcome.statuses[status] += 1
        if status == 200:
            outcome.latencies.append(time.perf_counter() - at)
    if streams:
        streams[1].close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> int:
    """Send a search and read its whole answer; return the status."""
    head = f"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    await reader.readexactly(int(headers[b"content-length"]))
    return int(lines[0].split()[1])
