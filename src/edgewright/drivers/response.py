"""Response times measured outside the services: a throttled service cannot time itself.

Failed requests count as `failed_as_s` in means and percentiles, so that failing is never cheaper than being slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from edgewright.core.contracts import FloatArray
from edgewright.core.errors import InputError


class SourceError(Exception):
    """The source did not answer in time or not in its format; the next window covers this one too."""


@dataclass(frozen=True)
class ResponseWindow:
    """Requests of one service between two reads of its source."""

    seconds: float
    arrived: int  # requests that were due
    backlog: int  # not yet ended at the window's end
    requests: int  # that ended, failed ones included
    failed: int
    mean_s: float  # 0 where none ended; a failed one counts as `failed_as_s`
    p95_s: float  # 0 where none ended
    late_fraction: float  # over the SLO's bound, or failed; 0 where none ended

    @property
    def rate_hz(self) -> float:
        return self.arrived / self.seconds if self.seconds > 0 else 0.0


class ResponseSource(Protocol):
    async def windows(self) -> Mapping[str, ResponseWindow]:
        """By service, since the last successful call (the first call: since the source was made or opened).

        Raises SourceError; never waits longer than the source's time-out.
        """
        ...

    async def close(self) -> None: ...


def window_of(
    responses_s: FloatArray,
    *,
    seconds: float,
    arrived: int,
    backlog: int,
    failed: int,
    late_s: float,
    failed_as_s: float = 2.0,
) -> ResponseWindow:
    """A window from single response times, float64[answered requests]."""
    all_s = np.concatenate([responses_s, np.full(failed, failed_as_s)])
    if all_s.size == 0:
        return ResponseWindow(seconds, arrived, backlog, 0, 0, 0.0, 0.0, 0.0)
    late = int((responses_s > late_s).sum()) + failed
    return ResponseWindow(
        seconds=seconds,
        arrived=arrived,
        backlog=backlog,
        requests=int(all_s.size),
        failed=failed,
        mean_s=float(all_s.mean()),
        p95_s=float(np.percentile(all_s, 95)),
        late_fraction=late / all_s.size,
    )


@dataclass(frozen=True)
class MetricNames:
    """Names in an ingress' Prometheus text: ours by default."""

    histogram: str = "edgewright_response_seconds"
    requests: str = "edgewright_requests_total"
    arrivals: str | None = "edgewright_arrivals_total"
    in_flight: str | None = "edgewright_requests_in_flight"
    service_label: str = "service"
    outcome_label: str = "outcome"
    ok_pattern: str = r"ok"
    """Outcomes that are answers (whole match); the histogram holds these. NGINX: `[1-3]..`."""


@dataclass(frozen=True)
class _Totals:
    """One scrape of one service; cumulative. By default: nothing counted yet."""

    buckets: dict[float, float] = field(default_factory=dict)
    sum_s: float = 0.0
    outcomes: dict[str, float] = field(default_factory=dict)
    arrivals: float | None = None
    in_flight: float = 0.0


@dataclass
class PrometheusSource:
    """Deltas between scrapes of an ingress' histogram and counters. `late_s` must be one of the bucket bounds."""

    url: str
    late_s: float
    names: MetricNames = field(default_factory=MetricNames)
    timeout_s: float = 0.5
    failed_as_s: float = 2.0

    def __post_init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._last: dict[str, _Totals] = {}
        self._last_s: float | None = None

    async def windows(self) -> Mapping[str, ResponseWindow]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.timeout_s))
        try:
            async with self._session.get(self.url) as response:
                text, status = await response.text(), response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise SourceError(f"{self.url}: {error or f'no answer within {self.timeout_s:g} s'}") from error
        if status != 200:
            raise SourceError(f"{self.url}: HTTP status {status}")
        now_s = time.monotonic()
        totals = self._read(text)
        # What was counted before the first scrape is of no window of ours; a service new in a later one is.
        last_s, last = (now_s, totals) if self._last_s is None else (self._last_s, self._last)
        result = {
            name: self._window(total, last.get(name, _Totals()), now_s - last_s) for name, total in totals.items()
        }
        self._last, self._last_s = totals, now_s
        return result

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _read(self, text: str) -> dict[str, _Totals]:
        names, found = self.names, {}
        samples: dict[str, list[Any]] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    samples.setdefault(sample.name, []).append(sample)
        except ValueError as error:
            raise SourceError(f"{self.url}: {error}") from error

        def of(metric: str | None, service: str) -> list[Any]:
            return [s for s in samples.get(metric or "", ()) if s.labels.get(names.service_label) == service]

        known = {s.labels.get(names.service_label) for s in samples.get(names.arrivals or names.requests, ())}
        known |= {s.labels.get(names.service_label) for s in samples.get(names.requests, ())}
        for service in sorted(known - {None}):
            buckets: dict[float, float] = {}
            for sample in of(f"{names.histogram}_bucket", service):
                bound = float(sample.labels["le"])
                buckets[bound] = buckets.get(bound, 0.0) + sample.value
            outcomes: dict[str, float] = {}
            for sample in of(names.requests, service):
                outcome = sample.labels.get(names.outcome_label, "")
                outcomes[outcome] = outcomes.get(outcome, 0.0) + sample.value
            arrivals = of(names.arrivals, service)
            found[service] = _Totals(
                dict(sorted(buckets.items())),
                sum(s.value for s in of(f"{names.histogram}_sum", service)),
                outcomes,
                sum(s.value for s in arrivals) if arrivals else None,
                sum(s.value for s in of(names.in_flight, service)),
            )
        return found

    def _window(self, new: _Totals, old: _Totals, seconds: float) -> ResponseWindow:
        if (new.arrivals or 0.0) < (old.arrivals or 0.0) or any(
            new.outcomes.get(key, 0.0) < value for key, value in old.outcomes.items()
        ):
            old = _Totals()  # the ingress restarted: it counts from zero
        ended = {key: value - old.outcomes.get(key, 0.0) for key, value in new.outcomes.items()}
        failed = round(sum(v for key, v in ended.items() if not re.fullmatch(self.names.ok_pattern, key)))
        requests = round(sum(ended.values()))
        bounds = np.array(list(new.buckets))
        counts = np.array([value - old.buckets.get(bound, 0.0) for bound, value in new.buckets.items()])
        if bounds.size and not np.isclose(bounds, self.late_s, rtol=1e-9).any():
            raise InputError("late_s", self.late_s, f"a bucket bound of {self.names.histogram}: {bounds.tolist()}")
        answered = counts[-1] if counts.size else 0.0
        in_time = counts[np.isclose(bounds, self.late_s, rtol=1e-9)].sum() if counts.size else 0.0
        arrived = requests if new.arrivals is None else round(new.arrivals - (old.arrivals or 0.0))
        total = answered + failed
        if total == 0:
            return ResponseWindow(seconds, arrived, round(new.in_flight), 0, 0, 0.0, 0.0, 0.0)
        return ResponseWindow(
            seconds=seconds,
            arrived=arrived,
            backlog=round(new.in_flight),
            requests=requests,
            failed=failed,
            mean_s=float((new.sum_s - old.sum_s + failed * self.failed_as_s) / total),
            p95_s=histogram_quantile(0.95, bounds, counts, failed, self.failed_as_s),
            late_fraction=float((total - in_time) / total),
        )


def histogram_quantile(
    q: float, bounds: Sequence[float] | FloatArray, counts: FloatArray, failed: int, failed_as_s: float
) -> float:
    """Linear interpolation within the bucket that holds the quantile, as Prometheus does; s.

    bounds [B], the last one infinite; counts [B], cumulative; `failed` requests lie above all, at `failed_as_s`.
    """
    rank = q * (counts[-1] + failed) if len(counts) else 1.0
    if not len(counts) or rank > counts[-1]:
        return failed_as_s
    index = int(np.searchsorted(counts, rank))
    low_s, below = (bounds[index - 1], counts[index - 1]) if index else (0.0, 0.0)
    if math.isinf(bounds[index]):
        return float(low_s)
    share = (rank - below) / (counts[index] - below)
    return float(low_s + share * (bounds[index] - low_s))


@dataclass(frozen=True)
class ProbeTarget:
    """The request that a probe sends."""

    url: str
    method: str = "GET"
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class ProbeSource:
    """Requests each target `rate_hz` times a second, open loop, timed from the intended moment.

    For services without an ingress that measures; the probes load the service. Starts with the first `windows()`.
    `targets` may be pointed elsewhere at any time.
    """

    def __init__(
        self, targets: Mapping[str, ProbeTarget], rate_hz: float, *, late_s: float, timeout_s: float = 2.0
    ) -> None:
        if not (math.isfinite(rate_hz) and 0 < rate_hz <= 1000):
            raise InputError("rate_hz", rate_hz, "a finite rate > 0, at most 1000")
        self.targets, self._rate_hz, self._late_s, self._timeout_s = dict(targets), rate_hz, late_s, timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._answered_s: dict[str, deque[float]] = {name: deque() for name in targets}
        self._failed, self._sent, self._open = (dict.fromkeys(targets, 0) for _ in range(3))
        self._since_s = time.monotonic()

    async def windows(self) -> Mapping[str, ResponseWindow]:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
            self._since_s = time.monotonic()
            for name in self.targets:
                self._spawn(self._send(name))
        now_s = time.monotonic()
        result = {
            name: window_of(
                np.array(self._answered_s[name], dtype=np.float64),
                seconds=now_s - self._since_s,
                arrived=self._sent[name],
                backlog=self._open[name],
                failed=self._failed[name],
                late_s=self._late_s,
                failed_as_s=self._timeout_s,
            )
            for name in self.targets
        }
        for name in self.targets:
            self._answered_s[name].clear()
            self._failed[name] = self._sent[name] = 0
        self._since_s = now_s
        return result

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._session is not None:
            await self._session.close()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            self._spawn(self._probe(name, due_s))
            due_s += 1.0 / self._rate_hz

    async def _probe(self, name: str, due_s: float) -> None:
        assert self._session is not None
        loop, target = asyncio.get_running_loop(), self.targets[name]
        self._sent[name] += 1
        self._open[name] += 1
        ok = False
        try:
            async with (
                asyncio.timeout_at(due_s + self._timeout_s),
                self._session.request(
                    target.method, target.url, data=target.body, headers=dict(target.headers)
                ) as response,
            ):
                await response.read()
            ok = response.status < 400
        except (aiohttp.ClientError, OSError, TimeoutError):
            ok = False
        finally:
            self._open[name] -= 1
        if ok:
            self._answered_s[name].append(loop.time() - due_s)
        else:
            self._failed[name] += 1
