"""The balancer as a process: its backends come, go and die, and it is told so."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest
from balancer_stand import HTTP, TOKEN, Stand, free_port, lasting_stand, names_of, plain, wait_for

from edgewright.core.documents import read
from edgewright.core.errors import InputError
from edgewright.drivers.balancer.control import Backend, BalancerFile
from edgewright.drivers.host import HostError
from edgewright.drivers.response import PrometheusSource


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with lasting_stand(tmp_path_factory.mktemp("balancer")) as made:
        yield made


@pytest.fixture
def stand(lasting: Stand) -> Iterator[Stand]:
    with lasting.empty():
        yield lasting


async def under_load(
    url: str, meanwhile: Callable[[Counter[str]], None], *, rate_hz: float, methods: tuple[str, ...] = ("GET", "POST")
) -> Counter[str]:
    """Requests over kept and fresh connections while `meanwhile` runs -> how often each outcome came."""
    outcomes: Counter[str] = Counter()
    done = asyncio.Event()

    async def ask(session: aiohttp.ClientSession, method: str, n: int) -> None:
        fresh = {"Connection": "close"} if n % 4 == 0 else {}
        body = b"x" * (n % 7 * 1000) if method in ("POST", "PUT") else None
        try:
            async with session.request(method, url, params={"ms": n % 5 * 4}, data=body, headers=fresh) as answer:
                told = await answer.json()
                assert told["bytes"] == len(body or b"")
                outcomes[told["name"] if answer.status == 200 else str(answer.status)] += 1
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            outcomes[repr(error)] += 1

    async def send(session: aiohttp.ClientSession) -> None:
        loop, tasks, n = asyncio.get_running_loop(), set(), 0
        due_s = loop.time()
        while not done.is_set():
            tasks.add(task := asyncio.create_task(ask(session, methods[n % len(methods)], n)))
            task.add_done_callback(tasks.discard)
            n += 1
            due_s += 1.0 / rate_hz
            await asyncio.sleep(max(0.0, due_s - loop.time()))
        await asyncio.gather(*tasks)

    # A client that asks again by itself would hide what fails.
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)) as session:
        session._retry_connection = False
        sending = asyncio.create_task(send(session))
        try:
            await asyncio.to_thread(meanwhile, outcomes)
        finally:
            done.set()
            await sending
    return outcomes


def test_nothing_fails_while_replicas_come_and_go(stand: Stand) -> None:
    for name in "abcd":
        stand.backend(name)
    stand.have(*"abcd")  # so that no time is lost with starting Python under load
    stand.have("a")
    before = stand.metrics()

    def meanwhile(outcomes: Counter[str]) -> None:
        for names in (("a", "b", "c"), ("b",), ("b", "d"), ("d",)):
            stand.have(*names, stop=True)
            enough = outcomes.total() + 500
            wait_for(lambda: outcomes.total() > enough)  # noqa: B023

    outcomes = asyncio.run(under_load(stand.url, meanwhile, rate_hz=300, methods=("GET", "POST", "PUT", "DELETE")))
    assert set(outcomes) == {"a", "b", "c", "d"}
    assert outcomes.total() > 2000
    counted = stand.metrics() - before
    ended = {name: number for name, number in counted.items() if name.startswith("edgewright_requests_total")}
    assert ended == {'edgewright_requests_total{outcome="ok",service="shop"}': outcomes.total()}
    assert stand.metrics()['edgewright_requests_in_flight{service="shop"}'] == 0
    assert not {"a", "b", "c"} & set(stand.processes)


def test_idempotent_requests_survive_the_kill_of_their_backend(stand: Stand) -> None:
    stand.have("a", "b")
    retries = 'edgewright_balancer_retries_total{service="shop"}'
    before = stand.metrics()

    def meanwhile(outcomes: Counter[str]) -> None:
        wait_for(lambda: outcomes.total() > 100)
        stand.processes["a"].kill()
        wait_for(lambda: stand.control.backends()["a"].state == "ejected")
        enough = outcomes.total() + 100
        wait_for(lambda: outcomes.total() > enough)

    outcomes = asyncio.run(under_load(stand.url, meanwhile, rate_hz=200, methods=("GET", "PUT", "DELETE")))
    assert set(outcomes) == {"a", "b"}
    assert stand.metrics()[retries] > before[retries]


def test_an_ejected_backend_returns_once_it_is_well(stand: Stand) -> None:
    stand.have("a", "b")
    stand.processes["a"].kill()
    stand.processes["a"].wait()
    wait_for(lambda: names_of(stand, 4) == {"b"} and stand.control.backends()["a"].state == "ejected")
    stand.run("a")
    wait_for(lambda: stand.control.backends()["a"].state == "up")
    assert names_of(stand, 10) == {"a", "b"}


def test_the_last_backend_is_asked_even_where_it_fails(stand: Stand) -> None:
    stand.have("a")
    stand.processes["a"].kill()
    stand.processes["a"].wait()
    for _ in range(5):
        assert HTTP.get(stand.url).status_code == 502
    assert stand.control.backends()["a"].state == "ejected"
    stand.run("a")
    wait_for(lambda: HTTP.get(stand.url).status_code == 200)


def test_a_slow_replica_gets_fewer(stand: Stand) -> None:
    for name, delay_ms in (("fast", 5), ("slow", 200)):
        stand.backend(name, delay_ms=delay_ms)
    stand.have("fast", "slow")

    async def ask() -> Counter[str]:
        async with aiohttp.ClientSession() as session:

            async def one() -> str:
                async with session.get(stand.url) as answer:
                    return str((await answer.json())["name"])

            async def many() -> list[str]:
                return [await one() for _ in range(40)]

            return Counter(name for names in await asyncio.gather(*(many() for _ in range(6))) for name in names)

    given = asyncio.run(ask())
    assert given["fast"] > 2 * given["slow"] > 0
    metrics = stand.metrics()
    assert metrics['edgewright_backend_response_seconds_count{backend="slow",service="shop"}'] == given["slow"]
    assert metrics['edgewright_backends{service="shop",state="up"}'] == 2


def test_one_after_the_other_they_take_turns(stand: Stand) -> None:
    stand.have("a", "b", "c")
    with plain() as client:
        given = Counter(client.get(stand.url).json()["name"] for _ in range(30))
    assert given == {"a": 10, "b": 10, "c": 10}


def test_a_drain_ends_at_its_deadline(tmp_path: Path) -> None:
    stand = Stand(tmp_path, drain_s=0.5)
    try:
        stand.have("a")
        found: list[int] = []
        asking = threading.Thread(
            target=lambda: found.append(HTTP.post(stand.url, params={"ms": 8000}, timeout=9).status_code)
        )
        asking.start()
        wait_for(lambda: stand.control.backends()["a"].outstanding == 1)
        began_s = time.monotonic()
        stand.control.set_backends([])
        assert stand.control.backends()["a"].state == "draining"
        with pytest.raises(HostError, match="a: draining, 1 requests"):
            stand.control.await_drained(["a"], 0.1)
        stand.control.await_drained(["a"], 5.0)
        assert 0.4 < time.monotonic() - began_s < 3.0
        asking.join()
        assert found == [502]
        assert stand.metrics()['edgewright_requests_total{outcome="cut",service="shop"}'] == 1
    finally:
        stand.close()


def test_a_drain_that_is_taken_back(stand: Stand) -> None:
    stand.have("a")
    asking = threading.Thread(target=lambda: HTTP.get(stand.url, params={"ms": 1500}, timeout=9))
    asking.start()
    wait_for(lambda: stand.control.backends()["a"].outstanding == 1)
    stand.control.set_backends([])
    stand.control.set_backends([stand.known["a"]])
    stand.control.await_up(["a"], 5.0)
    assert stand.control.backends()["a"].outstanding == 1
    assert HTTP.get(stand.url).status_code == 200
    asking.join()


def test_it_keeps_its_backends_and_finds_them_again(stand: Stand) -> None:
    stand.have("a", "b")
    stand.process.kill()
    stand.process.wait(10)
    stand.start()
    stand.control.await_up(["a", "b"], 10.0)
    assert HTTP.get(stand.url).status_code == 200


def test_it_ends_gently(stand: Stand) -> None:
    stand.have("a")
    found: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: found.append(HTTP.get(stand.url, params={"ms": 1000}, timeout=9)))
    with plain() as idle:
        assert idle.get(stand.url).status_code == 200
        asking.start()
        wait_for(lambda: stand.control.backends()["a"].outstanding == 1)
        stand.process.send_signal(signal.SIGTERM)
        asking.join()
    assert (found[0].status_code, found[0].headers["Connection"]) == (200, "close")
    assert stand.process.wait(5) == 0


def test_backends_in_network_namespaces(stand: Stand, require: Callable[..., None]) -> None:
    require("network-namespace")
    from edgewright.drivers.linux.namespaces import batch, new_prefix, remove

    prefix = new_prefix()
    labels = ("far-a", "far-b")
    names = [f"{prefix}{label}" for label in labels]
    try:
        batch("ip", [f"netns add {name}" for name in names])
        for label, name in zip(labels, names, strict=True):
            batch("ip", ["link set lo up"], namespace=name)
            # Their loopback: only who is inside reaches it.
            stand.backend(label, namespace=name, command=("ip", "netns", "exec", name))
        stand.have(*labels)
        with plain() as client:
            given = Counter(client.get(stand.url).json()["name"] for _ in range(20))
        assert given == {"far-a": 10, "far-b": 10}
        assert os.readlink(f"/proc/{stand.process.pid}/ns/net") == os.readlink("/proc/self/ns/net")
        stand.have("far-b", stop=True)
        remove(names[:1])
        assert HTTP.get(stand.url).json()["name"] == "far-b"
    finally:
        for label in {"far-a", "far-b"} & set(stand.processes):
            stand.end(label, signal.SIGKILL)
        remove(names)


def test_without_a_backend(stand: Stand) -> None:
    got = HTTP.get(stand.url)
    assert (got.status_code, got.headers["Retry-After"], set(got.json())) == (503, "1", {"message"})
    stand.control.set_backends([Backend(name="later", url=f"http://127.0.0.1:{free_port()}")])
    with pytest.raises(HostError, match="later: starting"):
        stand.control.await_up(["later"], 0.3)
    assert HTTP.get(stand.url).status_code == 503


def test_control_is_for_those_who_have_the_token(stand: Stand) -> None:
    control = stand.control.metrics_url.removesuffix("/metrics") + "/-/backends"
    for method in ("GET", "PUT"):
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            got = HTTP.request(method, control, json={"backends": []}, headers=headers)
            assert (got.status_code, set(got.json())) == (401, {"message"})
    assert HTTP.get(f"{stand.url}/-/backends").status_code == 503  # a path of the service
    key = {"Authorization": f"Bearer {TOKEN}"}
    for body in ("{", "[]", '{"backends": [{"name": "a"}]}', '{"backends": [], "more": 1}'):
        got = HTTP.put(control, content=body, headers=key)
        assert (got.status_code, set(got.json())) == (400, {"message"})


def test_what_cannot_be_leaves_all_as_it_was(stand: Stand) -> None:
    stand.have("a")
    before = stand.file.read_text()
    one = stand.known["a"]
    with pytest.raises(InputError, match=r"url: .* an url used once"):
        stand.control.set_backends([one, Backend(name="b", url=one.url)])
    with pytest.raises(HostError, match="another address"):
        stand.control.set_backends([Backend(name="a", url="http://127.0.0.1:9")])
    stand.process.kill()
    stand.process.wait()
    with pytest.raises(HostError, match="does not answer"):
        stand.control.set_backends([])
    assert stand.file.read_text() == before


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1:80", "http://name:80", "http://127.0.0.1", "http://127.0.0.1:99999", "http://1.2.3.4:80/x"],
)
def test_urls_that_no_backend_has(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        Backend(name="a", url=url)


def test_the_file_is_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "balancer.json"
    file.write_text(json.dumps({"format": "edgewright.balancer/1", "service": "s", "control_port": 1, "more": 1}))
    with pytest.raises(InputError, match="more"):
        read(BalancerFile, file)
    command = balancer_command(file)
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


def balancer_command(file: Path) -> list[str]:
    return [sys.executable, "-m", "edgewright.drivers.balancer", "--config", str(file), "--port", "1"]


def test_prometheus_source_reads_its_metrics(tmp_path: Path) -> None:
    stand = Stand(tmp_path, extra_buckets_s=(0.123,))

    async def run() -> None:
        source = PrometheusSource(stand.control.metrics_url, late_s=0.123, timeout_s=5.0)
        try:
            assert (await source.windows())["shop"].requests == 0
            await asyncio.to_thread(ask)
            window = (await source.windows())["shop"]
            assert (window.arrived, window.requests, window.failed, window.backlog) == (21, 21, 1, 0)
            assert window.mean_s > 0.01
            assert window.late_fraction == pytest.approx(2 / 21)
        finally:
            await source.close()

    def ask() -> None:
        with plain() as client:
            for n in range(20):
                assert client.get(stand.url, params={"ms": 200 if n == 7 else 1}).status_code == 200
            stand.have()
            assert client.get(stand.url).status_code == 503

    try:
        stand.have("a")
        asyncio.run(run())
    finally:
        stand.close()
