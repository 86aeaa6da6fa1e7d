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
import signal
import time
import urllib.request
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

from edgewright.core.errors import InputError
from edgewright.demo.radio import FloatArray, RadioWorld

NEIGHBOURS = 8
BOUND_QUANTILE = 0.9
PLACES, MEMBERS, MAX_MEMBERS = 500, 15, 1000

REQUESTS = Counter("localization_requests", "Requests by outcome", ["outcome"])
INFERENCE = Histogram(
    "localization_inference_seconds", "Wall time of one inference", buckets=[m * 1e-3 for m in range(1, 51)]
)
WAITING = Gauge("localization_waiting_requests", "Requests that wait for inference")
RECENT_BYTES = Gauge("localization_recent_fixes_bytes", "Memory held by the cache of recent fixes")


class Localizer:
    """An ensemble of k-nearest-neighbour estimators, each over its own survey of PLACES places (bagging).

    Small maps stay in the core's own cache: one large map costs two to three times more CPU after a pause than
    in a tight loop, and a request's cost would hang on its neighbours.
    """

    def __init__(self, world: RadioWorld, seed: int, members: int) -> None:
        self._world, self._seed = world, seed
        self._ensemble: list[tuple[Any, FloatArray]] = []
        self._scale = 1.0
        self.resize(members)

    def resize(self, members: int) -> None:
        from sklearn.neighbors import KNeighborsRegressor

        for member in range(len(self._ensemble), members):
            rss_dbm, positions_m = self._world.survey(PLACES, [self._seed, member])
            model = KNeighborsRegressor(NEIGHBOURS, algorithm="brute", metric="manhattan")
            self._ensemble.append((model.fit(rss_dbm, positions_m), positions_m))
        self.members = members

    def locate(self, rss_dbm: FloatArray) -> tuple[FloatArray, float]:
        """float64[A], dBm -> position [2], m, and the radius that holds the true one in 90 % of cases, m."""
        near_m, weight = np.empty((self.members, NEIGHBOURS, 2)), np.empty((self.members, NEIGHBOURS, 1))
        for member, (model, positions_m) in enumerate(self._ensemble[: self.members]):
            distance, index = model.kneighbors(rss_dbm[np.newaxis])
            near_m[member] = positions_m[index[0]]
            weight[member, :, 0] = 1.0 / np.maximum(distance[0], 1e-9)
        weight /= weight.sum()
        position_m = (weight * near_m).sum(axis=(0, 1))
        spread_m = math.sqrt(float((weight * (near_m - position_m) ** 2).sum()))
        return position_m, self._scale * spread_m

    def calibrate_bound(self, count: int = 60) -> None:
        """Scale the spread of the neighbours so that BOUND_QUANTILE of held-out errors stay below the bound."""
        self._scale = 1.0
        ratios = []
        for rss_dbm, true_m in zip(*self.queries(count), strict=True):
            position_m, spread_m = self.locate(rss_dbm)
            ratios.append(math.dist(position_m, true_m) / spread_m)
        self._scale = float(np.quantile(ratios, BOUND_QUANTILE))

    def queries(self, count: int) -> tuple[FloatArray, FloatArray]:
        """Measurements that no member has seen -> rss_dbm [count, A], positions_m [count, 2]."""
        return self._world.survey(count, [self._seed, MAX_MEMBERS])


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
        self.ready = False

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
            try:
                with INFERENCE.time():
                    position_m, bound_m = self._localizer.locate(rss_dbm)
                self._recent.add(position_m)
            except Exception as error:  # this request's handler reports it (500), the worker goes on
                REQUESTS.labels("error").inc()
                answer.set_exception(error)
                continue
            REQUESTS.labels("ok").inc()
            position = [round(float(x), 3) for x in position_m]
            answer.set_result(web.json_response({"position_m": position, "error_bound_m": round(bound_m, 3)}))
            await asyncio.sleep(0)  # read what came meanwhile, so that a full queue refuses at once

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._recent.expire()

    async def _healthz(self, _: web.Request) -> web.Response:
        if not self.ready:
            return web.json_response({"status": "starting"}, status=503)
        return web.json_response({"status": "ok", "members": self._localizer.members})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def calibrate(self, url: str, cpu_ms: float) -> None:
        """As many members as make one request, HTTP included, cost `cpu_ms` of CPU on this host.

        Measured with paced requests of our own from another thread. Raises InputError where no size does.
        """
        few, many = 2, 18
        await self._request_cpu_ms(url, few)  # the first calls load code
        low_ms, high_ms = await self._request_cpu_ms(url, few), await self._request_cpu_ms(url, many)
        members = round(few + (cpu_ms - low_ms) / max(1e-3, (high_ms - low_ms) / (many - few)))
        if not 1 <= members <= MAX_MEMBERS:
            raise InputError("cpu-ms", cpu_ms, f"what 1 to {MAX_MEMBERS} members cost here; 2 cost {low_ms:.2f}")
        self._localizer.resize(members)

    async def _request_cpu_ms(self, url: str, members: int, count: int = 40) -> float:
        def ask() -> None:
            for body in bodies:
                time.sleep(0.01)
                direct.open(url, body, timeout=30).close()

        self._localizer.resize(members)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        bodies = [json.dumps({"rss_dbm": row.tolist()}).encode() for row in self._localizer.queries(count)[0]]
        start_s = time.thread_time()  # of this thread: the asking one costs nothing here
        await asyncio.to_thread(ask)
        return (time.thread_time() - start_s) / count * 1e3


async def serve(service: Service, localizer: Localizer, options: argparse.Namespace) -> None:
    """Until SIGTERM or SIGINT."""
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    runner = web.AppRunner(service.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port).start()
        if options.cpu_ms is not None:
            await service.calibrate(f"http://{options.host}:{options.port}/locate", options.cpu_ms)
        localizer.calibrate_bound()
        print(f"{localizer.members} members of {PLACES} places", flush=True)
        service.ready = True
        await end.wait()
    finally:
        await runner.cleanup()


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
    size.add_argument("--members", type=_positive(int), help=f"of the ensemble (default {MEMBERS})")
    size.add_argument("--cpu-ms", type=_positive(float), help="as many members as make a request cost this much")
    parser.add_argument("--queue", type=_positive(int), default=100, help="requests that may wait; more get 503")
    parser.add_argument("--memory-per-request-kb", type=float, default=0.0, help="held for --memory-hold-s")
    parser.add_argument("--memory-hold-s", type=_positive(float), default=20.0)
    options = parser.parse_args()

    import sklearn.neighbors  # noqa: F401  (its libraries must be loaded to be limited)
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threadpool_limits(1)
    localizer = Localizer(
        RadioWorld.generate(options.seed, options.access_points), options.seed, options.members or MEMBERS
    )
    recent = RecentFixes(4 * round(options.memory_per_request_kb * 250), options.memory_hold_s)
    service = Service(localizer, options.access_points, options.queue, recent)
    try:
        asyncio.run(serve(service, localizer, options))
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
