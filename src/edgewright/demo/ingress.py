"""The ingress of the demo: sends each request when it is due and times it from then, outside the service."""

from __future__ import annotations

import asyncio
import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TextIO

import aiohttp
import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from pydantic import Field

from edgewright.core.documents import Document, Part
from edgewright.core.errors import InputError
from edgewright.core.workload import Load, arrivals, rates
from edgewright.demo.radio import FloatArray, RadioWorld

HORIZON_S = 86_400  # without an end, the profile of a day repeats
BODIES = 256
LAG_S = 0.005  # a request sent later than this after its time counts as sent late
BUCKETS_S = tuple(
    sorted(
        {0.001, 0.002, 0.003, 0.004, 1.0, 1.25, 1.5, 1.75, 2.0}
        | {m * 1e-3 for m in (5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 22, 25, 28, 31, 35, 40, 45, 50, 55, 60, 70)}
        | {m * 1e-3 for m in (80, 90, 100, 125, 150, 175, 200, 250, 300, 350, 400, 500, 600, 700, 800, 900)}
    )
)
Outcome = Literal["ok", "refused", "error", "timeout"]


class LocalizationRequest(Part):
    """POSTs signal strengths drawn from the radio world that the service's map is of."""

    kind: Literal["localization"]
    seed: int = 0
    access_points: Annotated[int, Field(ge=1, le=1000)] = 48


class PlainRequest(Part):
    """The same request each time."""

    kind: Literal["plain"]
    method: Literal["GET", "POST", "PUT"] = "GET"
    body: str = ""
    content_type: str = "application/json"


class Target(Part):
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    url: Annotated[str, Field(pattern=r"^https?://")]
    request: Annotated[LocalizationRequest | PlainRequest, Field(discriminator="kind")]
    load: Load


class LoadFile(Document):
    format: Literal["edgewright.load/1"]
    duration_s: Annotated[int, Field(ge=1, le=HORIZON_S)] | None = None
    """None: until it is ended."""
    timeout_s: Annotated[float, Field(gt=0)] = 2.0
    """A request unanswered for this long after its time has failed."""
    extra_buckets_s: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Bounds that the response histogram must contain beside its own, such as an SLO's."""
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=256)]


class Metrics:
    """What the ingress shows to Prometheus. The histogram holds answered (`ok`) requests only."""

    def __init__(self, extra_buckets_s: Sequence[float]) -> None:
        self.registry = CollectorRegistry()
        label = ["service"]
        buckets = sorted({*BUCKETS_S, *extra_buckets_s})
        self.response = Histogram(
            "edgewright_response_seconds",
            "Response time of answered requests, from their intended arrival",
            label,
            buckets=buckets,
            registry=self.registry,
        )
        self.requests = Counter(
            "edgewright_requests", "Requests that ended", [*label, "outcome"], registry=self.registry
        )
        self.arrivals = Counter("edgewright_arrivals", "Requests that were due", label, registry=self.registry)
        self.in_flight = Gauge(
            "edgewright_requests_in_flight", "Requests not yet answered", label, registry=self.registry
        )
        self.rate = Gauge("edgewright_offered_rate_hz", "Rate of the load profile now", label, registry=self.registry)
        self.late_sends = Counter(
            "edgewright_load_late_sends",
            f"Requests that this process sent more than {LAG_S * 1e3:g} ms after their time",
            registry=self.registry,
        )
        self.max_lag = Gauge("edgewright_load_max_lag_seconds", "The latest send so far", registry=self.registry)


def read_arrivals(path: Path) -> dict[str, list[float]]:
    """Recorded arrivals, a CSV file with columns t_s and service -> times by service, s from the start, sorted."""
    times: dict[str, list[float]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if not {"t_s", "service"} <= set(reader.fieldnames or ()):
                raise InputError("columns", reader.fieldnames, "t_s, service", source=str(path))
            for line, row in enumerate(reader, start=2):
                try:
                    t_s = float(row["t_s"])
                except (TypeError, ValueError):
                    t_s = math.nan
                if not (math.isfinite(t_s) and t_s >= 0):
                    raise InputError(f"line {line}, t_s", row["t_s"], "a finite time >= 0", source=str(path))
                times.setdefault(row["service"], []).append(t_s)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("file", str(error), "a readable CSV file in UTF-8", source=str(path)) from error
    return {name: sorted(values) for name, values in times.items()}


@dataclass
class Stream:
    """The arrivals of one target: drawn second by second from the seed, or recorded ones."""

    target: Target
    seed: int
    duration_s: int | None
    folder: Path
    recorded: list[float] | None = None
    multiplier: float = 1.0

    def __post_init__(self) -> None:
        self.change(self.target.load, self.draw_rates(self.target.load), 0)
        self.bodies = self._draw_bodies()  # now, as the clock must not wait for them

    def draw_rates(self, load: Load) -> FloatArray:
        """The rate of each second of a profile. Raises InputError where it names a broken file."""
        return rates(load, self.duration_s or HORIZON_S, self._rng(-1), folder=self.folder)

    def change(self, load: Load, rate_hz: FloatArray, second: int) -> None:
        """A new profile, which starts at its own second 0 when ours is `second`."""
        self.load, self._rates, self._begin_s = load, rate_hz, second

    def rate_hz(self, second: int) -> float:
        return float(self._rates[max(0, second - self._begin_s) % len(self._rates)]) * self.multiplier

    def second(self, second: int) -> list[float]:
        """Arrival times within [second, second + 1). The draw depends on the seed, the second and the rate alone."""
        times = arrivals(np.array([self.rate_hz(second)]), self._rng(second))
        return [second + float(t) for t in times]

    def seconds(self) -> Iterator[list[float]]:
        """Arrivals of each second in turn; what is not yet drawn follows a change of profile or multiplier."""
        if self.recorded is not None:
            yield self.recorded
            return
        second = 0
        while self.duration_s is None or second < self.duration_s:
            yield self.second(second)
            second += 1

    def _draw_bodies(self) -> list[bytes]:
        request = self.target.request
        if isinstance(request, PlainRequest):
            return [request.body.encode()]
        world = RadioWorld.generate(request.seed, request.access_points)
        heard, _ = world.survey(BODIES, [self.seed, 2_000_000])
        return [json.dumps({"rss_dbm": row.round(1).tolist()}).encode() for row in heard]

    def _rng(self, second: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, second + 1, *self.target.name.encode()])


class Ingress:
    """Sends every stream's requests when they are due, whether or not earlier ones were answered (open loop)."""

    def __init__(
        self,
        streams: Sequence[Stream],
        metrics: Metrics,
        *,
        timeout_s: float,
        record: TextIO | None = None,
        results: TextIO | None = None,
    ) -> None:
        self.streams = {stream.target.name: stream for stream in streams}
        self.metrics, self._timeout_s = metrics, timeout_s
        self.max_lag_s, self.late_sends = 0.0, 0
        self.ended: dict[str, dict[str, int]] = {name: {} for name in self.streams}
        self._record, self._results = (csv.writer(file) if file else None for file in (record, results))
        if self._record:
            self._record.writerow(["t_s", "service"])
        if self._results:
            self._results.writerow(["t_s", "service", "response_s", "outcome"])
        self._start_s = math.inf

    @property
    def t_s(self) -> float:
        """Seconds since the start; the zero of all arrival times."""
        return max(0.0, asyncio.get_running_loop().time() - self._start_s)

    async def run(self) -> None:
        """Until every stream is over and its last request has ended."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15.0)
        async with aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        ) as session:
            self._start_s = asyncio.get_running_loop().time()
            async with asyncio.TaskGroup() as group:
                for stream in self.streams.values():
                    group.create_task(self._stream(stream, session, group))

    async def _stream(self, stream: Stream, session: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        loop, name, bodies = asyncio.get_running_loop(), stream.target.name, stream.bodies
        due, in_flight = self.metrics.arrivals.labels(name), self.metrics.in_flight.labels(name)
        rate, sent = self.metrics.rate.labels(name), 0
        for second, times in enumerate(stream.seconds()):
            if stream.recorded is None:
                rate.set(stream.rate_hz(second))
            for t_s in times:
                wait_s = self._start_s + t_s - loop.time()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                self._note_lag(loop.time() - self._start_s - t_s)
                due.inc()
                in_flight.inc()
                if self._record:
                    self._record.writerow([repr(t_s), name])
                group.create_task(self._request(stream.target, t_s, bodies[sent % len(bodies)], session))
                sent += 1
            if stream.recorded is None:
                await asyncio.sleep(max(0.0, self._start_s + second + 1 - loop.time()))
        rate.set(0.0)

    def _note_lag(self, lag_s: float) -> None:
        if lag_s > self.max_lag_s:
            self.max_lag_s = lag_s
            self.metrics.max_lag.set(lag_s)
        if lag_s > LAG_S:
            self.late_sends += 1
            self.metrics.late_sends.inc()

    async def _request(self, target: Target, t_s: float, body: bytes, session: aiohttp.ClientSession) -> None:
        loop, due_s = asyncio.get_running_loop(), self._start_s + t_s
        method, kind = "POST", "application/json"
        if isinstance(target.request, PlainRequest):
            method, kind = target.request.method, target.request.content_type
        outcome: Outcome = "error"
        try:
            async with (
                asyncio.timeout_at(due_s + self._timeout_s),
                session.request(method, target.url, data=body or None, headers={"Content-Type": kind}) as response,
            ):
                await response.read()
            outcome = "ok" if response.status < 400 else "refused" if response.status in (429, 503) else "error"
        except TimeoutError:
            outcome = "timeout"
        except (aiohttp.ClientError, OSError):
            outcome = "error"
        response_s = loop.time() - due_s
        self.metrics.in_flight.labels(target.name).dec()
        self.metrics.requests.labels(target.name, outcome).inc()
        if outcome == "ok":
            self.metrics.response.labels(target.name).observe(response_s)
        ended = self.ended[target.name]
        ended[outcome] = ended.get(outcome, 0) + 1
        if self._results:
            self._results.writerow([repr(t_s), target.name, f"{response_s:.6f}", outcome])
