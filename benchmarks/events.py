"""How fast events reach a hub, and what telling costs a request: the outbox beside a POST inside the request.

    python benchmarks/events.py [--events 3000] [--out FILE]

Over SQLite, to a receiver in a process of its own on this host: one that answers at once, and one that takes 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
import uuid
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import numpy as np
from sqlalchemy import func, select

from edgewright.service.resources.deliveries import Deliveries
from edgewright.service.resources.outbox import publish
from edgewright.service.store import Store
from edgewright.service.store.tables import DeliveryRow, HubRow

ORDER = {"state": "acknowledged", "description": "a slice with two chunks", "serviceOrderItem": [{"id": "1"}] * 4}


def receive(told: Connection, delay_s: float) -> None:
    """Serve until a number of events is asked for; then tell when each came first (monotonic clock), by subject."""
    came: dict[str, float] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            length = int(next(line for line in head.lower().split(b"\r\n") if b"content-length" in line).split(b":")[1])
            body = json.loads(await reader.readexactly(length))
            await asyncio.sleep(delay_s)
            came.setdefault(body["correlationId"], time.monotonic())
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        count = await asyncio.to_thread(told.recv)
        while len(came) < count:
            await asyncio.sleep(0.02)
        told.send(came)
        server.close()

    asyncio.run(run())


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):  # its end, or ours
        return b""


def tell(store: Store, count: int, gap_s: float, after: Callable[[str], None]) -> tuple[dict[str, float], list[float]]:
    """Requests that change something and tell of it -> when each was committed, and how long each took, s."""
    committed, took = {}, []
    for _ in range(count):
        subject, began = str(uuid.uuid4()), time.monotonic()
        with store.write() as session:
            publish(session, "ordering", "ServiceOrderCreateEvent", subject, {"serviceOrder": ORDER | {"id": subject}})
        committed[subject] = time.monotonic()
        after(subject)
        took.append(time.monotonic() - began)
        time.sleep(gap_s)
    return committed, took


def measure(delay_s: float, count: int, gap_s: float, *, naive: bool, ahead: bool = False) -> dict[str, float]:
    """`ahead`: all are published before the first is delivered, which shows how fast they go."""
    here, there = multiprocessing.Pipe()
    receiver = multiprocessing.get_context("spawn").Process(target=receive, args=(there, delay_s), daemon=True)
    receiver.start()
    with tempfile.TemporaryDirectory(prefix="edgewright-bench-") as data, httpx.Client(trust_env=False) as http:
        callback = f"http://127.0.0.1:{here.recv()}"
        store = Store(f"sqlite:///{data}/store.sqlite")
        deliveries = Deliveries(store)
        if not naive:
            with store.write() as session:
                session.add(HubRow(id="hub", api="ordering", callback=callback, query="", created=time.time()))

        def after(subject: str) -> None:
            if naive:
                http.post(f"{callback}/listener/x", json={"correlationId": subject, "event": {"serviceOrder": ORDER}})
            elif not ahead:
                deliveries.wake()

        if not (naive or ahead):
            deliveries.start()
            time.sleep(0.5)
        committed, took = tell(store, count, gap_s, after)
        began = time.monotonic()
        if ahead:
            deliveries.start()
        here.send(count)
        came: dict[str, float] = here.recv()
        if not naive:
            waiting = select(func.count()).select_from(DeliveryRow).where(DeliveryRow.state == "waiting")
            while True:
                with store.read() as session:
                    if session.scalar(waiting) == 0:
                        break
                time.sleep(0.01)
        spent_s = time.monotonic() - began
        deliveries.close()
        store.close()
    receiver.join()
    if ahead:
        return {"events_hz": count / spent_s}
    latency = [came[subject] - at for subject, at in committed.items()]
    p50, p99, request50, request99 = (1e3 * float(np.percentile(x, q)) for x in (latency, took) for q in (50, 99))
    return {"request_p50_ms": request50, "request_p99_ms": request99, "latency_p50_ms": p50, "latency_p99_ms": p99}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path("runs/events.json"))
    options = parser.parse_args()
    few = max(options.events // 10, 20)
    result = {
        "outbox, as fast as it goes": measure(0.0, options.events, 0.0, naive=False, ahead=True),
        "outbox, 20 ms between requests": measure(0.0, few, 0.02, naive=False),
        "POST in the request, 20 ms between them": measure(0.0, few, 0.02, naive=True),
        "outbox, receiver of 50 ms": measure(0.05, few // 3, 0.066, naive=False),
        "POST in the request, receiver of 50 ms": measure(0.05, few // 3, 0.066, naive=True),
    }
    for name, row in result.items():
        print(f"{name:<40}" + "  ".join(f"{key} {value:.1f}" for key, value in row.items()), flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
