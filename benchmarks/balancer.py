"""What a balancer costs: requests/s, CPU per request and added latency, beside its backend asked directly.

    python benchmarks/balancer.py [--seconds 3] [--rounds 3] [--out FILE]

Each way is measured in turn in every round; ratios are of medians. An nginx or a haproxy is measured too where there is
one. Client and backend are small programs of their own, so that they hide as little as they can.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import httptools
import numpy as np

from edgewright.drivers.balancer.control import Backend, BalancerFile, Balancing, balancer_spec, write_file
from edgewright.scaling.launch import free_port

CONNECTIONS = 16
PACED_HZ = 200.0
REQUEST = b"GET /item/1 HTTP/1.1\r\nHost: shop\r\nAccept: application/json\r\nUser-Agent: benchmark\r\n%b\r\n"
BACKEND = """
import asyncio, sys
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 200\\r\\n\\r\\n" + b"x" * 200
class Answering(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.rest = transport, b""
    def data_received(self, data):
        self.rest += data
        while b"\\r\\n\\r\\n" in self.rest:
            head, _, self.rest = self.rest.partition(b"\\r\\n\\r\\n")
            self.transport.write(ANSWER)
            if b"close" in head.lower():
                self.transport.close()
async def main():
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()
asyncio.run(main())
"""
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error; events {{ worker_connections 1024; }}
http {{ access_log off; upstream shop {{ least_conn; server 127.0.0.1:{backend}; keepalive 64; }}
server {{ listen 127.0.0.1:{port} backlog=1024; location / {{
proxy_pass http://shop; proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
listen shop
    bind 127.0.0.1:{port}
    balance leastconn
    http-reuse always
    server a 127.0.0.1:{backend}
"""


class Asking(asyncio.Protocol):
    """One request after the other, on one connection or on a fresh one each."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self._parser = transport, httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[None] | None = None

    async def ask(self, request: bytes) -> None:
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        await self._answer

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert self._answer is not None
        if self._parser.get_status_code() == 200:
            self._answer.set_result(None)
        else:
            self._answer.set_exception(RuntimeError(f"status {self._parser.get_status_code()}"))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("closed"))


async def ask(port: int, seconds: float, *, fresh: bool, rate_hz: float | None) -> tuple[list[float], float]:
    """-> response times, s, and how long it took in all."""
    loop, taken = asyncio.get_running_loop(), []
    request = REQUEST % (b"Connection: close\r\n" if fresh else b"")
    began_s = loop.time()

    async def work(number: int) -> None:
        asking, due_s = None, began_s + number / (rate_hz or 1.0)
        while (now_s := loop.time()) < began_s + seconds:
            if rate_hz is not None:
                await asyncio.sleep(max(0.0, due_s - now_s))
                due_s += CONNECTIONS / rate_hz
            sent_s = loop.time()
            if asking is None or fresh:
                _, asking = await loop.create_connection(Asking, "127.0.0.1", port)
            await asking.ask(request)
            taken.append(loop.time() - sent_s)
            if fresh:
                asking.transport.close()
        if asking is not None:
            asking.transport.close()

    await asyncio.gather(*map(work, range(CONNECTIONS)))
    return taken, loop.time() - began_s


def measure(port: int, pid: int | None, seconds: float) -> dict[str, float]:
    """Of one way, in one round. pid: the process between, whose CPU counts."""
    row = {}
    for kind, fresh, rate_hz in (("kept", False, None), ("fresh", True, None), ("paced", False, PACED_HZ)):
        before_s = cpu_s(pid)
        taken, wall_s = asyncio.run(ask(port, seconds, fresh=fresh, rate_hz=rate_hz))
        row[f"{kind}_cpu_ms"] = (cpu_s(pid) - before_s) / len(taken) * 1e3
        row[f"{kind}_hz"] = len(taken) / wall_s
        p50, p99 = np.percentile(taken, [50, 99]) * 1e3
        row |= {f"{kind}_p50_ms": float(p50), f"{kind}_p99_ms": float(p99)}
    return row


def cpu_s(pid: int | None) -> float:
    """On user and system time, to the nanosecond, with all its threads and those of its children (nginx' worker)."""
    if pid is None:
        return 0.0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    tasks = [task for each in (pid, *children) for task in Path(f"/proc/{each}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) * 1e-9


@contextlib.contextmanager
def running(command: list[str], port: int, **environment: str) -> Iterator[int]:
    process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + 60
        while True:
            try:
                asyncio.run(ask(port, 0.01, fresh=True, rate_hz=None))
                break
            except (OSError, RuntimeError):
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise
                time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/balancer.json"))
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgewright-bench-")))
        backend = free_port()
        stack.enter_context(running([sys.executable, "-c", BACKEND, str(backend)], backend))
        file, port = folder / "balancer.json", free_port()
        wanted = (Backend(name="a", url=f"http://127.0.0.1:{backend}"),)
        write_file(file, BalancerFile(service="shop", control_port=free_port(), backends=wanted, health_path="/"))
        spec = balancer_spec("balancer", file, port, "benchmark")
        ours = stack.enter_context(running([*spec.command], port, **spec.environment))
        Balancing(file, "benchmark").await_up(["a"], 10.0)
        ways: dict[str, tuple[int, int | None]] = {"direct": (backend, None), "balancer": (port, ours)}
        for name, text, more in (("nginx", NGINX, ["-c"]), ("haproxy", HAPROXY, ["-f"])):
            if program := shutil.which(name):
                other, configuration = free_port(), folder / f"{name}.conf"
                configuration.write_text(text.format(folder=folder, port=other, backend=backend))
                ways[name] = other, stack.enter_context(running([program, *more, str(configuration)], other))
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, (at, pid) in ways.items():
                rounds[name].append(measure(at, pid, options.seconds))
    result: dict[str, Any] = {
        name: {key: median(row[key] for row in rows) for key in rows[0]} for name, rows in rounds.items()
    }
    for name, row in result.items():
        print(f"{name:<10}" + "  ".join(f"{key} {value:.3g}" for key, value in row.items()), flush=True)
    direct = result["direct"]
    for name in list(result)[1:]:
        row = result[name]
        row["rate_ratio"] = row["kept_hz"] / direct["kept_hz"]
        row["added_p50_ms"] = row["paced_p50_ms"] - direct["paced_p50_ms"]
        row["added_p99_ms"] = row["paced_p99_ms"] - direct["paced_p99_ms"]
        print(
            f"{name} / direct: {row['rate_ratio']:.2f} of its requests/s; at {PACED_HZ:g}/s "
            f"{row['added_p50_ms']:.2f} ms (p50) and {row['added_p99_ms']:.2f} ms (p99) more"
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
