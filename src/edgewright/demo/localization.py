"""A localization service: HTTP, the position of a terminal from the signal strengths it hears.

`python -m edgewright.demo.localization --port 8101`. One process, one thread, first come first served:
POST /locate {"rss_dbm": [...]} -> {"position_m": [x, y], "error_bound_m": e}; GET /healthz; GET /metrics (Prometheus).
Weighted k nearest neighbours in signal space; the error bound is calibrated to hold for 90 % of a hold-out set.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import mmap
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

import numpy as np
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

from edgewright.core.errors import InputError
from edgewright.demo.radio import FLOOR_DBM, FloatArray, RadioWorld

NEIGHBOURS = 8
BOUND_QUANTILE = 0.9
POINTS, MAX_POINTS = 60_000, 1_000_000

REQUESTS = Counter("localization_requests", "Requests by outcome", ["outcome"])
INFERENCE = Histogram(
    "localization_inference_seconds", "Wall time of one inference", buckets=[m * 1e-3 for m in range(1, 51)]
)
WAITING = Gauge("localization_waiting_requests", "Requests that wait for inference")
RECENT_BYTES = Gauge("localization_recent_fixes_bytes", "Memory held by the cache of recent fixes")


class Localizer:
    """k nearest neighbours over a radio map, rss_dbm [N, A] at positions_m [N, 2], and a bound of its error.

    The Canberra distance weighs weak signals, and is bound by computation rather than memory: steady cost.
    """

    def __init__(self, rss_dbm: FloatArray, positions_m: FloatArray) -> None:
        from sklearn.neighbors import KNeighborsRegressor

        self.points = len(positions_m)
        self._positions_m = positions_m
        self._model = KNeighborsRegressor(NEIGHBOURS, algorithm="brute", metric="canberra")
        self._model.fit(rss_dbm - FLOOR_DBM, positions_m)
        self._scale = 1.0

    def locate(self, rss_dbm: FloatArray) -> tuple[FloatArray, float]:
        """float64[A], dBm -> position [2], m, and the radius that holds the true one in 90 % of cases, m."""
        distance, index = self._model.kneighbors(np.maximum(0.0, rss_dbm - FLOOR_DBM)[np.newaxis])
        near_m = self._positions_m[index[0]]
        weight = 1.0 / np.maximum(distance[0], 1e-9)
        weight /= weight.sum()
        position_m = weight @ near_m
        spread_m = math.sqrt(float(weight @ ((near_m - position_m) ** 2).sum(axis=1)))
        return position_m, self._scale * spread_m

    def calibrate_bound(self, world: RadioWorld, seed: int, count: int = 60) -> None:
        """Scale the spread of the neighbours so that BOUND_QUANTILE of held-out errors stay below the bound."""
        self._scale = 1.0
        ratios = []
        for rss_dbm, true_m in zip(*world.survey(count, seed), strict=True):
            position_m, spread_m = self.locate(rss_dbm)
            ratios.append(math.dist(position_m, true_m) / spread_m)
        self._scale = float(np.quantile(ratios, BOUND_QUANTILE))

    def cpu_ms(self, queries: FloatArray) -> float:
        """Median process CPU time of one inference, ms."""
        times = []
        for rss_dbm in queries:
            start = time.process_time()
            self.locate(rss_dbm)
            times.append(time.process_time() - start)
        return float(np.median(times)) * 1e3


def sized(world: RadioWorld, seed: int, cpu_ms: float) -> Localizer:
    """A localizer whose map is as large as makes one inference cost `cpu_ms` of CPU on this host.

    Raises InputError where no map of 1,000 to MAX_POINTS places does.
    """
    queries, _ = world.survey(25, seed + 1)
    sizes = [2_000, 20_000]
    found = Localizer(*world.survey(sizes[0], seed))
    found.cpu_ms(queries)  # the first calls load code
    costs_ms = [found.cpu_ms(queries)]
    for _ in range(3):
        found = Localizer(*world.survey(sizes[-1], seed))
        costs_ms.append(found.cpu_ms(queries))
        if abs(costs_ms[-1] / cpu_ms - 1) < 0.03:
            break
        # The line through the smallest and the newest map; a large one leaves the caches, hence the rounds.
        slope_ms = (costs_ms[-1] - costs_ms[0]) / (sizes[-1] - sizes[0])
        sizes.append(int(sizes[-1] + (cpu_ms - costs_ms[-1]) / max(slope_ms, 1e-6)))
        if not 1_000 <= sizes[-1] <= MAX_POINTS:
            raise InputError("cpu-ms", cpu_ms, f"what a map of 1000 to {MAX_POINTS} places costs here")
    return found


class RecentFixes:
    """Keeps `size_bytes` per fix for `hold_s`: a working set that follows the load, in pages really touched.

    Each fix has its own mapping, so that its pages return to the kernel when it expires.
    """

    def __init__(self, size_bytes: int, hold_s: float) -> None:
        self._size_bytes, self._hold_s = size_bytes, hold_s
        self._fixes: deque[tuple[float, mmap.mmap]] = deque()

    def add(self, position_m: FloatArray) -> None:
        if self._size_bytes:
            block = mmap.mmap(-1, self._size_bytes)
            likelihood = np.frombuffer(block, np.float32)
            likelihood[:] = float(position_m[0])
            del likelihood  # a mapping with a view on it cannot be closed
            self._fixes.append((time.monotonic() + self._hold_s, block))
        self.expire()

    def expire(self) -> None:
        now = time.monotonic()
        while self._fixes and self._fixes[0][0] <= now:
            self._fixes.popleft()[1].close()
        RECENT_BYTES.set(len(self._fixes) * self._size_bytes)


class Service:
    """The HTTP side: a bounded queue before one worker."""

    def __init__(self, localizer: Localizer, access_points: int, queue: int, recent: RecentFixes) -> None:
        self._localizer, self._access_points, self._recent = localizer, access_points, recent
        self._queue: asyncio.Queue[tuple[web.Request, FloatArray, asyncio.Future[web.Response]]]
        self._queue = asyncio.Queue(queue)

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/locate", self._locate)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/metrics", self._metrics)
        application.cleanup_ctx.append(self._background)
        return application

    async def _background(self, _: web.Application) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._expire())]
        yield
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _locate(self, request: web.Request) -> web.Response:
        try:
            rss_dbm = self._read(await request.text())
        except InputError as error:
            REQUESTS.labels("bad").inc()
            return web.json_response({"error": str(error)}, status=400)
        answer: asyncio.Future[web.Response] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((request, rss_dbm, answer))
        except asyncio.QueueFull:
            REQUESTS.labels("refused").inc()
            return web.json_response({"error": "too many requests wait"}, status=503)
        WAITING.set(self._queue.qsize())
        return await answer

    def _read(self, text: str) -> FloatArray:
        allowed = f'{{"rss_dbm": [{self._access_points} finite numbers]}}'
        try:
            rss_dbm = np.asarray(json.loads(text)["rss_dbm"], dtype=np.float64)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError("body", text[:80], allowed) from error
        if rss_dbm.shape != (self._access_points,) or not np.isfinite(rss_dbm).all():
            raise InputError("rss_dbm", text[:80], allowed)
        return rss_dbm

    async def _work(self) -> None:
        """Inference runs inline: it holds the thread, as in the single-threaded services of the field."""
        while True:
            request, rss_dbm, answer = await self._queue.get()
            WAITING.set(self._queue.qsize())
            if request.transport is None or request.transport.is_closing() or answer.cancelled():
                REQUESTS.labels("gone").inc()  # the client gave up: no CPU for it
                continue
            with INFERENCE.time():
                position_m, bound_m = self._localizer.locate(rss_dbm)
            self._recent.add(position_m)
            REQUESTS.labels("ok").inc()
            position = [round(float(x), 3) for x in position_m]
            answer.set_result(web.json_response({"position_m": position, "error_bound_m": round(bound_m, 3)}))
            await asyncio.sleep(0)  # read what came meanwhile, so that a full queue refuses at once

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._recent.expire()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "map_points": self._localizer.points})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = kind(text)
        if not (math.isfinite(value) and value > 0):
            raise argparse.ArgumentTypeError(f"got {text}, allowed: a finite number > 0")
        return value

    return read


def main() -> None:
    parser = argparse.ArgumentParser(prog="edgewright.demo.localization", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8101)
    parser.add_argument("--seed", type=int, default=0, help="of the radio map")
    parser.add_argument("--access-points", type=_positive(int), default=48)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--points", type=_positive(int), help=f"size of the radio map (default {POINTS})")
    size.add_argument("--cpu-ms", type=_positive(float), help="size the map so that an inference costs this much CPU")
    parser.add_argument("--queue", type=_positive(int), default=100, help="requests that may wait; more get 503")
    parser.add_argument("--memory-per-request-kb", type=float, default=0.0, help="held for --memory-hold-s")
    parser.add_argument("--memory-hold-s", type=_positive(float), default=20.0)
    options = parser.parse_args()

    import sklearn.neighbors  # noqa: F401  (its libraries must be loaded to be limited)
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threadpool_limits(1)
    world = RadioWorld.generate(options.seed, options.access_points)
    try:
        if options.cpu_ms is not None:
            localizer = sized(world, options.seed, options.cpu_ms)
        else:
            localizer = Localizer(*world.survey(options.points or POINTS, options.seed))
    except InputError as error:
        parser.error(str(error))
    localizer.calibrate_bound(world, options.seed + 2)
    cpu_ms = localizer.cpu_ms(world.survey(15, options.seed + 3)[0])
    print(f"map of {localizer.points} places, {cpu_ms:.2f} ms of CPU per inference", flush=True)
    recent = RecentFixes(4 * round(options.memory_per_request_kb * 250), options.memory_hold_s)
    service = Service(localizer, options.access_points, options.queue, recent)
    web.run_app(
        service.application(),
        host=options.host,
        port=options.port,
        access_log=None,
        print=None,
        shutdown_timeout=1.0,
    )


if __name__ == "__main__":
    main()
