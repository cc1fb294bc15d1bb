"""Metrics in the format of Prometheus."""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Metrics of one process. No label contains what a caller sent: routes are named by their templates."""

    def __init__(self) -> None:
        self.started = time.time()
        self.in_flight = 0
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.errors: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: Counter[str] = Counter()

    def observe(self, route: str, method: str, status: int, seconds: float, kind: str | None) -> None:
        """Counts a finished request."""
        self.requests[route, method, status] += 1
        buckets = self._buckets.setdefault(route, [0] * (len(BUCKETS) + 1))
        buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[route] += seconds  # type: ignore[assignment]
        if kind is not None:
            self.errors[kind] += 1

    def text(self) -> str:
        """All metrics as text."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _head("ayni_http_requests_total", "counter", "Finished requests.")
        for (route, method, status), count in sorted(self.requests.items()):
            labels = f'route="{_escaped(route)}",method="{_escaped(method)}",status="{status}"'
            yield f"ayni_http_requests_total{{{labels}}} {count}"
        yield from _head("ayni_http_request_seconds", "histogram", "How long requests took.")
        for route, buckets in sorted(self._buckets.items()):
            yield from _histogram(_escaped(route), buckets, self._seconds[route])
        yield from _head("ayni_http_errors_total", "counter", "Requests that failed, by the kind of error.")
        yield from (f'ayni_http_errors_total{{kind="{kind}"}} {count}' for kind, count in sorted(self.errors.items()))
        yield from _head("ayni_http_refused_total", "counter", "Refused requests.")
        yield from (f'ayni_http_refused_total{{reason="{why}"}} {count}' for why, count in sorted(self.refused.items()))
        yield from _gauge("ayni_http_requests_in_flight", "Running requests.", self.in_flight)
        yield from _gauge("ayni_uptime_seconds", "How long the process has served.", time.time() - self.started)
        yield from _gauge("process_start_time_seconds", "When it began to.", self.started)
        if (resident := resident_bytes()) is not None:
            yield from _gauge("process_resident_memory_bytes", "Memory in use.", resident)


def _head(name: str, kind: str, what: str) -> tuple[str, str]:
    return f"# HELP {name} {what}", f"# TYPE {name} {kind}"


def _gauge(name: str, what: str, value: float) -> tuple[str, ...]:
    return (*_head(name, "gauge", what), f"{name} {value}")


def _histogram(route: str, buckets: list[int], seconds: float) -> Iterator[str]:
    below = 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), buckets, strict=True):
        below += count
        yield f'ayni_http_request_seconds_bucket{{route="{route}",le="{bound}"}} {below}'
    yield f'ayni_http_request_seconds_sum{{route="{route}"}} {seconds}'
    yield f'ayni_http_request_seconds_count{{route="{route}"}} {below}'


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def resident_bytes() -> int | None:
    """The memory of the process, where the system reports it."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
