"""The balancer: replicas 1..n of a service behind one address.

`python -m edgewright.drivers.balancer --config FILE --port N`: the file is an `edgewright.balancer/1` (see `control`).
The service is offered on the port; on the file's control port (loopback): GET /metrics (Prometheus), GET /healthz, GET
and PUT /-/backends. These two need the token of the environment variable EDGEWRIGHT_BALANCER_TOKEN as a bearer.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hmac
import os
import resource
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from edgewright.core.documents import load_json, read, validate
from edgewright.core.errors import InputError
from edgewright.drivers.balancer.control import BACKENDS_PATH, TOKEN_VARIABLE, BalancerFile, States, Wanted
from edgewright.drivers.balancer.exchange import Outcome
from edgewright.drivers.balancer.relay import Front, Relay
from edgewright.drivers.balancer.replicas import Replica, Replicas

GRACE_S = 4.0  # for requests under way when it is asked to end
BACKLOG = 4096
BUCKETS_S = (
    *(m * 1e-3 for m in (1, 2, 3, 4, 5, 7, 10, 14, 20, 28, 40, 50, 70, 100, 140, 200, 280, 400, 500, 700)),
    *(1.0, 1.4, 2.0, 5.0, 10.0, 60.0),
)


class Metrics:
    """What is counted, under the names that PrometheusSource reads; the histograms hold answers below 500 only."""

    def __init__(self, service: str, extra_buckets_s: Sequence[float]) -> None:
        self.registry, self._service = CollectorRegistry(), service
        self.replicas: dict[str, Replica] = {}
        registry, label = self.registry, ["service"]
        buckets = sorted({*BUCKETS_S, *extra_buckets_s})
        told = "Response time of answered requests, from the end of the request's head to the end of the answer"
        response = Histogram("edgewright_response_seconds", told, label, buckets=buckets, registry=registry)
        self._response = response.labels(service)
        self._backends = Histogram(
            "edgewright_backend_response_seconds",
            "The same, by backend",
            [*label, "backend"],
            buckets=buckets,
            registry=registry,
        )

        def counter(name: str, told: str, *more: str) -> Counter:
            return Counter(f"edgewright_{name}", told, [*label, *more], registry=registry)

        self._requests = counter("requests", "Requests that ended", "outcome")
        self._ok = self._requests.labels(service, "ok")
        self._arrivals = counter("arrivals", "Requests that came").labels(service)
        in_flight = Gauge("edgewright_requests_in_flight", "Requests not yet answered", label, registry=registry)
        self._in_flight = in_flight.labels(service)
        retried = "Requests given to another backend, or to the same by another connection"
        self._retries = counter("balancer_retries", retried).labels(service)
        self._rejected = counter("balancer_rejected", "What came from clients and was no HTTP/1.1 request", "status")
        registry.register(self)

    def arrived(self) -> None:
        self._arrivals.inc()
        self._in_flight.inc()

    def ended(self, outcome: Outcome, response_s: float, backend: str | None) -> None:
        self._in_flight.dec()
        if outcome != "ok":
            self._requests.labels(self._service, outcome).inc()
            return
        self._ok.inc()
        self._response.observe(response_s)
        if backend in self.replicas:
            self._backends.labels(self._service, backend).observe(response_s)

    def retried(self) -> None:
        self._retries.inc()

    def rejected(self, status: int) -> None:
        self._rejected.labels(self._service, str(status)).inc()

    def gone(self, replica: Replica) -> None:
        self._backends.remove(self._service, replica.name)

    def collect(self) -> Iterator[Metric]:
        """Of the backends that there are."""
        label = ["service", "backend"]
        outstanding = GaugeMetricFamily("edgewright_backend_outstanding", "Requests it has now", labels=label)
        requests = CounterMetricFamily("edgewright_backend_requests", "Requests given to it", labels=label)
        failures = CounterMetricFamily(
            "edgewright_backend_failures", "Connections and health checks that failed", labels=label
        )
        states = GaugeMetricFamily("edgewright_backends", "Backends by state", labels=["service", "state"])
        count = dict.fromkeys(("starting", "up", "ejected", "draining"), 0)
        for name, replica in self.replicas.items():
            outstanding.add_metric([self._service, name], replica.outstanding)
            requests.add_metric([self._service, name], replica.requests)
            failures.add_metric([self._service, name], replica.failures)
            count[replica.state] += 1
        for state, number in count.items():
            states.add_metric([self._service, state], number)
        yield from (outstanding, requests, failures, states)


def application(replicas: Replicas, metrics: Metrics, token: str | None) -> web.Application:
    """The control side; without a token the backends can be neither read nor changed."""

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def backends(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token is None or not hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode()):
            return web.json_response({"message": f"needs the token of {TOKEN_VARIABLE}"}, status=401)
        if request.method == "PUT":
            try:
                data = load_json(await request.text(), source=f"PUT {BACKENDS_PATH}")
                replicas.want(validate(Wanted, data, source=f"PUT {BACKENDS_PATH}").backends)
            except (InputError, UnicodeDecodeError) as error:
                return web.json_response({"message": str(error)}, status=400)
        states = States(backends=tuple(replica.told() for replica in replicas.all.values()))
        return web.json_response(states.model_dump())

    app = web.Application()
    app.add_routes(
        [
            web.get("/metrics", show_metrics),
            web.get("/healthz", healthz),
            web.get(BACKENDS_PATH, backends),
            web.put(BACKENDS_PATH, backends),
        ]
    )
    return app


async def serve(config: BalancerFile, port: int, token: str | None) -> None:
    """Until SIGTERM or SIGINT comes. Raises OSError where a port is taken."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics(config.service, config.extra_buckets_s)
    replicas = Replicas(config.health_path, config.drain_s, metrics.gone)
    metrics.replicas = replicas.all
    replicas.want(config.backends)
    relay = Relay(replicas, metrics, config.timeout_s)
    watch = asyncio.create_task(relay.watch())
    runner = web.AppRunner(application(replicas, metrics, token), access_log=None)
    try:
        offered = await loop.create_server(lambda: Front(relay), config.address, port, backlog=BACKLOG)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", config.control_port).start()
        await stop.wait()
        offered.close()
        await relay.close(GRACE_S)
    finally:
        watch.cancel()
        await runner.cleanup()
        await replicas.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="edgewright.drivers.balancer", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON, format edgewright.balancer/1")
    parser.add_argument("--port", type=int, required=True, help="where the service is offered")
    options = parser.parse_args()
    try:
        config = read(BalancerFile, options.config)
    except InputError as error:
        parser.error(str(error))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # every request under way has two
    gc.freeze()  # what start-up made is not searched again
    try:
        asyncio.run(serve(config, options.port, os.environ.get(TOKEN_VARIABLE) or None))
    except OSError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
