"""Counters and histograms in the text format of Prometheus.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

KIND = "text/plain; version=0.0.4; charset=utf-8"
# Upper bounds of the buckets of a latency, in seconds.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """How many requests each endpoint had, how they ended and how long they took. For one thread, the event loop's."""

    def __init__(self) -> None:
        self.in_progress = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))
        self._seconds: dict[str, float] = defaultdict(float)

    def count_refused(self, status: int) -> None:
        """Count a request to no endpoint, or with a method that its endpoint does not take, as endpoint ``other``."""
        self._requests["other", status] += 1

    def count(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request; ``status`` 499 is a client that went away before its answer."""
        self._requests[endpoint, status] += 1
        self._buckets[endpoint][bisect_left(BOUNDS, seconds)] += 1
        self._seconds[endpoint] += seconds

    def text(self, gauges: Iterable[tuple[str, str, str, Mapping[str, float]]] = ()) -> str:
        """Return all metrics as text.

        ``gauges`` are further metrics: name, type, help, and values by their labels (``index="docs"``, or empty).
        """
        lines = _head("leafkit_requests_total", "counter", "Requests by endpoint and status.")
        for (endpoint, status), count in sorted(self._requests.items()):
            lines.append(f'leafkit_requests_total{{endpoint="{endpoint}",status="{status}"}} {count}')
        lines += _head(
            "leafkit_request_seconds", "histogram", "Seconds from the first byte of a request to its answer."
        )
        for endpoint, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
                total += count
                lines.append(f'leafkit_request_seconds_bucket{{endpoint="{endpoint}",le="{bound}"}} {total}')
            lines.append(f'leafkit_request_seconds_sum{{endpoint="{endpoint}"}} {self._seconds[endpoint]:.6f}')
            lines.append(f'leafkit_request_seconds_count{{endpoint="{endpoint}"}} {total}')
        for name, kind, meaning, values in gauges:
            lines += _head(name, kind, meaning)
            lines += [
                f"{name}{{{labels}}} {value:g}" if labels else f"{name} {value:g}" for labels, value in values.items()
            ]
        return "\n".join(lines) + "\n"


def label(name: str, value: str) -> str:
    """Return one label of a metric, with ``value`` escaped."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{name}="{escaped}"'


def _head(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
