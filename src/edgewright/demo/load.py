"""The load generator and ingress of the demo: open loop, seeded, measured from outside the services.

`python -m edgewright.demo.load --config FILE --seed N --port P`, or `--url URL --rate-hz R` for one service.
On the port (loopback): GET /metrics (Prometheus), GET /healthz, GET and PUT /load. A PUT needs the token of the
environment variable EDGEWRIGHT_LOAD_TOKEN as a bearer: {"targets": {NAME: {"multiplier": 1.5, "load": {...}}}}.
A summary in JSON is printed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import hmac
import json
import os
import signal
import time
from pathlib import Path
from typing import Annotated, Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field

from edgewright.core.documents import Part, read, unique, validate
from edgewright.core.errors import InputError
from edgewright.core.workload import MAX_RATE_HZ, Load
from edgewright.demo.ingress import Ingress, LoadFile, Metrics, Stream, read_arrivals

TOKEN_VARIABLE = "EDGEWRIGHT_LOAD_TOKEN"  # noqa: S105  (a name, not a secret)


class Change(Part):
    multiplier: Annotated[float, Field(ge=0, le=100)] | None = None
    load: Load | None = None


class Changes(Part):
    targets: dict[str, Change]


def application(ingress: Ingress, token: str | None) -> web.Application:
    """The ingress' own HTTP side; without a token the load cannot be changed."""

    async def metrics(_: web.Request) -> web.Response:
        body = generate_latest(ingress.metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def show(_: web.Request) -> web.Response:
        return web.json_response(state(ingress))

    async def change(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token is None or not hmac.compare_digest(given.encode(), token.encode()):
            return web.json_response({"error": f"needs the token of {TOKEN_VARIABLE}"}, status=401)
        try:
            apply(ingress, validate(Changes, json.loads(await request.text()), source="PUT /load"))
        except json.JSONDecodeError as error:
            return web.json_response({"error": f"PUT /load: {error}"}, status=400)
        except InputError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(state(ingress))

    app = web.Application()
    app.add_routes(
        [
            web.get("/metrics", metrics),
            web.get("/healthz", healthz),
            web.get("/load", show),
            web.put("/load", change),
        ]
    )
    return app


def apply(ingress: Ingress, changes: Changes) -> None:
    """All or nothing, from the next full second on. Raises InputError."""
    for name in changes.targets:
        if name not in ingress.streams:
            raise InputError("targets", name, f"one of {sorted(ingress.streams)}")
        if ingress.streams[name].recorded is not None:
            raise InputError("targets", name, "no change: recorded arrivals are being replayed")
    drawn = {n: ingress.streams[n].draw_rates(c.load) for n, c in changes.targets.items() if c.load is not None}
    for name, change in changes.targets.items():
        stream = ingress.streams[name]
        if change.load is not None:
            stream.change(change.load, drawn[name], int(ingress.t_s) + 1)
        if change.multiplier is not None:
            stream.multiplier = change.multiplier


def state(ingress: Ingress) -> dict[str, Any]:
    return {
        "t_s": ingress.t_s,
        "late_sends": ingress.late_sends,
        "max_lag_s": ingress.max_lag_s,
        "targets": {
            name: {
                "multiplier": stream.multiplier,
                "rate_hz": stream.rate_hz(int(ingress.t_s)),
                "load": stream.load.model_dump(mode="json"),
                "ended": ingress.ended[name],
            }
            for name, stream in ingress.streams.items()
        },
    }


async def serve(ingress: Ingress, port: int | None, token: str | None) -> None:
    """Run the load until it is over or SIGTERM / SIGINT comes."""
    work = asyncio.create_task(ingress.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    runner = web.AppRunner(application(ingress, token), access_log=None)
    await runner.setup()
    try:
        if port is not None:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        with contextlib.suppress(asyncio.CancelledError):
            await work
    finally:
        work.cancel()
        await runner.cleanup()


def load_file(options: argparse.Namespace) -> tuple[LoadFile, Path]:
    """-> the configuration and the folder that its relative paths start from."""
    if options.config is not None:
        return read(LoadFile, options.config), Path(options.config).parent
    target = {
        "name": "service",
        "url": options.url,
        "request": {"kind": "localization"},
        "load": {"profile": {"kind": "constant", "rate_hz": options.rate_hz}},
    }
    return validate(LoadFile, {"format": "edgewright.load/1", "targets": [target]}, source="options"), Path()


def main() -> None:
    parser = argparse.ArgumentParser(prog="edgewright.demo.load", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", type=Path, help="YAML or JSON, format edgewright.load/1")
    what.add_argument("--url", help="one localization service, at --rate-hz")
    parser.add_argument("--rate-hz", type=float, default=30.0, help=f"0 .. {MAX_RATE_HZ:g}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, help="of /metrics and /load; without it there are none")
    parser.add_argument("--duration-s", type=int, help="overrides the file's")
    parser.add_argument("--record", type=Path, help="write every arrival to this CSV file")
    parser.add_argument("--replay", type=Path, help="send the arrivals of this CSV file instead of drawing them")
    parser.add_argument("--results", type=Path, help="write t_s, service, response_s, outcome to this CSV file")
    options = parser.parse_args()
    try:
        config, folder = load_file(options)
        unique((target.name for target in config.targets), "targets.name")
        replay = read_arrivals(options.replay) if options.replay else None
        for name in replay or ():
            if name not in (known := [target.name for target in config.targets]):
                raise InputError("service", name, f"one of {known}", source=str(options.replay))
        duration_s = options.duration_s or config.duration_s
        streams = [
            Stream(target, options.seed, duration_s, folder, None if replay is None else replay.get(target.name, []))
            for target in config.targets
        ]
    except InputError as error:
        parser.error(str(error))
    with contextlib.ExitStack() as files:
        record, results = (
            files.enter_context(path.open("w", newline="", encoding="utf-8")) if path else None
            for path in (options.record, options.results)
        )
        metrics = Metrics(config.extra_buckets_s)
        ingress = Ingress(streams, metrics, timeout_s=config.timeout_s, record=record, results=results)
        gc.freeze()  # what start-up made is not searched again: a full collection would delay sends
        start_cpu_s = time.process_time()
        asyncio.run(serve(ingress, options.port, os.environ.get(TOKEN_VARIABLE) or None))
        used_s = time.process_time() - start_cpu_s
    summary = {
        "services": ingress.ended,
        "late_sends": ingress.late_sends,
        "max_lag_s": round(ingress.max_lag_s, 6),
        "cpu_s": round(used_s, 3),
    }
    print(json.dumps(summary), flush=True)


if __name__ == "__main__":
    main()
