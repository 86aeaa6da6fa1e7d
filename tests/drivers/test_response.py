"""Response-time sources against real HTTP servers, well-behaved, hanging and dying ones."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edgewright.core.errors import InputError
from edgewright.drivers.response import (
    MetricNames,
    ProbeSource,
    ProbeTarget,
    PrometheusSource,
    SourceError,
    histogram_quantile,
    window_of,
)

BUCKETS_S = (0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """-> the server's URL, and what ends it."""
    app = web.Application()
    app.router.add_route("*", "/", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}/", runner.cleanup
    finally:
        await runner.cleanup()


class FakeIngress:
    """Counts as an ingress does, with the real Prometheus client."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        label = ["service"]
        self.response = Histogram("edgewright_response_seconds", "", label, buckets=BUCKETS_S, registry=self.registry)
        self.requests = Counter("edgewright_requests", "", ["service", "outcome"], registry=self.registry)
        self.arrivals = Counter("edgewright_arrivals", "", label, registry=self.registry)
        self.in_flight = Gauge("edgewright_requests_in_flight", "", label, registry=self.registry)

    def count(self, service: str, responses_s: list[float], *, failed: int = 0, waiting: int = 0) -> None:
        for response_s in responses_s:
            self.response.labels(service).observe(response_s)
        self.requests.labels(service, "ok").inc(len(responses_s))
        self.requests.labels(service, "timeout").inc(failed)
        self.arrivals.labels(service).inc(len(responses_s) + failed + waiting)
        self.in_flight.labels(service).set(waiting)

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self.registry))


def test_windows_are_deltas_between_scrapes() -> None:
    async def run() -> None:
        ingress = FakeIngress()
        ingress.count("a", [0.4] * 7, failed=3)
        async with serving(ingress.metrics) as (url, _):
            source = PrometheusSource(url, late_s=0.05)
            try:
                first = (await source.windows())["a"]
                assert (first.requests, first.failed, first.arrived) == (0, 0, 0)  # before our time
                ingress.count("a", [0.015] * 90 + [0.07] * 10, waiting=4)
                ingress.count("b", [0.03], failed=1)
                await asyncio.sleep(0.1)
                second = await source.windows()
                a = second["a"]
                assert (a.requests, a.failed, a.arrived, a.backlog) == (100, 0, 104, 4)
                assert a.mean_s == pytest.approx(0.9 * 0.015 + 0.1 * 0.07)
                assert 0.05 < a.p95_s < 0.1
                assert a.late_fraction == pytest.approx(0.1)
                assert a.rate_hz == pytest.approx(104 / a.seconds)
                third = await source.windows()
                assert (third["a"].requests, third["a"].mean_s, third["a"].late_fraction) == (0, 0.0, 0.0)
                ingress.count("b", [0.03] * 3, failed=1)
                b = (await source.windows())["b"]
                assert (b.requests, b.failed) == (4, 1)
                assert b.mean_s == pytest.approx((3 * 0.03 + 2.0) / 4)
                assert b.p95_s == 2.0  # a failed request counts as the time-out
                assert b.late_fraction == pytest.approx(0.25)
            finally:
                await source.close()

    asyncio.run(run())


def test_a_service_that_is_new_in_a_scrape_counts_from_zero() -> None:
    async def run() -> None:
        ingress = FakeIngress()
        ingress.count("a", [0.01])
        async with serving(ingress.metrics) as (url, _):
            source = PrometheusSource(url, late_s=0.05)
            try:
                await source.windows()
                ingress.count("late-comer", [0.01] * 5)
                assert (await source.windows())["late-comer"].requests == 5
            finally:
                await source.close()

    asyncio.run(run())


def test_a_restarted_ingress_counts_from_zero() -> None:
    async def run() -> None:
        ingress = FakeIngress()
        ingress.count("a", [0.4] * 50, failed=2)

        async def metrics(request: web.Request) -> web.Response:
            return await ingress.metrics(request)

        async with serving(metrics) as (url, _):
            source = PrometheusSource(url, late_s=0.05)
            try:
                await source.windows()
                ingress = FakeIngress()
                ingress.count("a", [0.015] * 4, failed=1)
                window = (await source.windows())["a"]
                assert (window.requests, window.failed, window.arrived) == (5, 1, 5)
                assert window.mean_s == pytest.approx((4 * 0.015 + 2.0) / 5)
            finally:
                await source.close()

    asyncio.run(run())


def test_the_bound_must_be_a_bucket() -> None:
    async def run() -> None:
        ingress = FakeIngress()
        ingress.count("a", [0.01])
        async with serving(ingress.metrics) as (url, _):
            source = PrometheusSource(url, late_s=0.03)
            try:
                with pytest.raises(InputError, match=r"late_s: got 0\.03.*bucket bound"):
                    await source.windows()
            finally:
                await source.close()

    asyncio.run(run())


def test_other_ingresses_have_other_names() -> None:
    text = """
# TYPE http_seconds histogram
http_seconds_bucket{upstream="a",code="200",le="0.05"} 8
http_seconds_bucket{upstream="a",code="200",le="+Inf"} 10
http_seconds_sum{upstream="a",code="200"} 1.0
http_seconds_count{upstream="a",code="200"} 10
# TYPE http_total counter
http_total{upstream="a",code="200"} %d
http_total{upstream="a",code="502"} %d
"""
    names = MetricNames("http_seconds", "http_total", None, None, "upstream", "code", r"[1-3]..")

    async def run() -> None:
        counts = [0, 0]

        async def metrics(_: web.Request) -> web.Response:
            return web.Response(text=text % tuple(counts))

        async with serving(metrics) as (url, _):
            source = PrometheusSource(url, late_s=0.05, names=names)
            try:
                await source.windows()
                counts[:] = [0, 3]
                window = (await source.windows())["a"]
                assert (window.requests, window.failed, window.arrived) == (3, 3, 3)
            finally:
                await source.close()

    asyncio.run(run())


@pytest.mark.parametrize("trouble", ["hangs", "dies", "errs", "talks nonsense"])
def test_a_source_in_trouble_says_so_in_time_and_the_next_window_covers_it(trouble: str) -> None:
    async def run() -> None:
        ingress, troubled = FakeIngress(), False
        ingress.count("a", [0.01])

        async def metrics(request: web.Request) -> web.Response:
            if troubled and trouble == "hangs":
                await asyncio.sleep(5)
            if troubled and trouble == "dies":
                assert request.transport is not None
                request.transport.abort()
            if troubled and trouble == "errs":
                return web.Response(status=500)
            if troubled and trouble == "talks nonsense":
                return web.Response(text="<html>{ 1")
            return await ingress.metrics(request)

        async with serving(metrics) as (url, _):
            source = PrometheusSource(url, late_s=0.05, timeout_s=0.2)
            try:
                await source.windows()
                ingress.count("a", [0.01] * 2)
                troubled = True
                began_s, ticks = time.monotonic(), 0

                async def tick() -> None:
                    nonlocal ticks
                    while True:
                        await asyncio.sleep(0.01)
                        ticks += 1

                ticking = asyncio.create_task(tick())
                with pytest.raises(SourceError, match=url):
                    await source.windows()
                took_s = time.monotonic() - began_s
                ticking.cancel()
                if trouble == "hangs":
                    assert 0.15 < took_s < 2.0
                    assert ticks >= 5  # the loop went on meanwhile
                troubled = False
                ingress.count("a", [0.01] * 3)
                window = (await source.windows())["a"]
                assert window.requests == 5
                assert window.seconds >= took_s
            finally:
                await source.close()

    asyncio.run(run())


def test_no_server_is_a_source_error() -> None:
    async def run() -> None:
        source = PrometheusSource("http://127.0.0.1:9/", late_s=0.05)
        try:
            with pytest.raises(SourceError, match="http:"):
                await source.windows()
        finally:
            await source.close()

    asyncio.run(run())


@given(st.lists(st.floats(min_value=1e-4, max_value=1.9), min_size=1, max_size=200), st.integers(0, 20))
def test_the_quantile_of_a_histogram_is_within_its_bucket(responses_s: list[float], failed: int) -> None:
    bounds = np.array([*BUCKETS_S, 2.0, np.inf])
    counts = np.array([sum(r <= bound for r in responses_s) for bound in bounds], dtype=float)
    found = histogram_quantile(0.95, bounds, counts, failed, 2.0)
    exact = float(np.quantile([*responses_s, *[2.0] * failed], 0.95, method="inverted_cdf"))
    bucket = int(np.searchsorted(bounds, exact))
    low = bounds[bucket - 1] if bucket else 0.0
    assert low <= found <= bounds[bucket] or found == exact


def test_a_window_of_single_responses() -> None:
    window = window_of(np.array([0.01, 0.03, 0.06]), seconds=2.0, arrived=5, backlog=1, failed=1, late_s=0.05)
    assert (window.requests, window.failed, window.rate_hz) == (4, 1, 2.5)
    assert window.mean_s == pytest.approx((0.1 + 2.0) / 4)
    assert window.late_fraction == 0.5
    empty = window_of(np.empty(0), seconds=2.0, arrived=3, backlog=3, failed=0, late_s=0.05)
    assert (empty.requests, empty.mean_s, empty.p95_s, empty.late_fraction) == (0, 0.0, 0.0, 0.0)


def test_probes_time_a_service_from_outside() -> None:
    async def run() -> None:
        seen: list[tuple[str, bytes, str | None]] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append((request.method, await request.read(), request.headers.get("X-Test")))
            if len(seen) % 4 == 0:
                return web.Response(status=503)
            await asyncio.sleep(0.03)
            return web.Response()

        async with serving(handler) as (url, _):
            target = ProbeTarget(url, "POST", b"ask", {"X-Test": "yes"})
            source = ProbeSource({"a": target}, rate_hz=40, late_s=0.02)
            try:
                assert (await source.windows())["a"].requests == 0
                await asyncio.sleep(1.0)
                window = (await source.windows())["a"]
                assert 20 <= window.arrived <= 42
                assert window.requests + window.backlog == window.arrived
                assert set(seen) == {("POST", b"ask", "yes")}
                assert 0.15 < window.failed / window.requests < 0.35
                assert window.mean_s > 0.03
                assert window.late_fraction == 1.0
                again = (await source.windows())["a"]
                assert again.requests <= 1
            finally:
                await source.close()

    asyncio.run(run())


def test_probes_of_a_hanging_and_a_dead_service_fail_after_the_timeout_and_do_not_wait() -> None:
    async def run() -> None:
        async def hang(_: web.Request) -> web.Response:
            await asyncio.sleep(30)
            return web.Response()

        async def answer(_: web.Request) -> web.Response:
            return web.Response()

        async with serving(hang) as (hanging, _), serving(answer) as (dying, end):
            targets = {"hanging": ProbeTarget(hanging), "dying": ProbeTarget(dying)}
            source = ProbeSource(targets, rate_hz=20, late_s=0.05, timeout_s=0.4)
            try:
                await source.windows()
                await asyncio.sleep(0.7)
                windows = await source.windows()
                assert windows["hanging"].failed == windows["hanging"].requests > 0
                assert windows["hanging"].backlog >= 4  # open loop: it goes on asking
                assert windows["hanging"].p95_s == 0.4
                assert windows["dying"].failed == 0
                assert windows["dying"].requests > 5
                await end()
                await asyncio.sleep(0.1)
                await source.windows()
                await asyncio.sleep(0.4)
                dead = (await source.windows())["dying"]
                assert dead.failed == dead.requests > 3
                assert dead.late_fraction == 1.0
            finally:
                await source.close()

    asyncio.run(run())


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), 1e6])
def test_a_rate_that_is_none_is_bad_input(rate_hz: float) -> None:
    with pytest.raises(InputError, match="rate_hz"):
        ProbeSource({}, rate_hz, late_s=0.05)
