"""What goes through the balancer in HTTP/1.1, and what does not."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest
from balancer_stand import HTTP, MB, Stand, answering, lasting_stand, names_of, plain, wait_for

HOST = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with lasting_stand(tmp_path_factory.mktemp("balancer")) as made:
        yield made


@pytest.fixture
def stand(lasting: Stand) -> Iterator[Stand]:
    with lasting.empty():
        yield lasting


def test_large_bodies_are_streamed(stand: Stand) -> None:
    stand.have("a")
    HTTP.get(stand.url)
    before_bytes, size = stand.memory_bytes(anew=True), 50 * MB
    block = os.urandom(MB)

    def blocks() -> Iterator[bytes]:
        for _ in range(50):
            yield block

    sha256 = hashlib.sha256(block * 50).hexdigest()
    for body in (blocks(), block * 50):  # chunked, and with a length
        told = HTTP.post(f"{stand.url}/digest", content=body, timeout=60).json()
        assert told == {"bytes": size, "sha256": sha256}
    for query in ("", "&length"):
        with HTTP.stream("GET", f"{stand.url}/stream?bytes={size}{query}", timeout=60) as answer:
            assert ("Content-Length" in answer.headers) == bool(query)
            expected = hashlib.sha256(bytes(range(256)) * (size // 256)).digest()
            found = hashlib.sha256()
            for part in answer.iter_raw():
                found.update(part)
            assert found.digest() == expected
    assert stand.memory_bytes() - before_bytes < 8 * MB


def test_a_slow_reader_holds_nothing_up_and_nothing_in_memory(stand: Stand) -> None:
    stand.have("a")
    HTTP.get(stand.url)
    before_bytes, size = stand.memory_bytes(anew=True), 50 * MB
    with socket.create_connection(("127.0.0.1", stand.port), timeout=10) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.sendall(f"GET /stream?bytes={size}&length HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        began_s = time.monotonic()
        for _ in range(50):
            assert HTTP.get(stand.url).status_code == 200
        assert time.monotonic() - began_s < 5
        assert stand.memory_bytes() - before_bytes < 8 * MB
        received = 0
        while received < size:
            received += len(slow.recv(MB))


def test_a_client_that_sends_slowly(stand: Stand) -> None:
    stand.have("a")
    request = b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nConnection: close\r\n\r\nslowly"
    with socket.create_connection(("127.0.0.1", stand.port), timeout=10) as client:
        for i in range(len(request)):
            client.sendall(request[i : i + 1])
            time.sleep(0.005)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["sha256"] == hashlib.sha256(b"slowly").hexdigest()


def test_who_makes_no_progress_is_given_up(tmp_path: Path) -> None:
    stand = Stand(tmp_path, timeout_s=0.6)
    try:
        stand.have("a")
        late = HTTP.get(stand.url, params={"ms": 3000})
        assert (late.status_code, "did not answer" in late.json()["message"]) == (504, True)
        stalled = stand.raw(b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nslo")
        assert stalled.startswith(b"HTTP/1.1 408")
        assert stand.metrics()['edgewright_requests_total{outcome="timeout",service="shop"}'] == 1
    finally:
        stand.close()


def test_an_answer_before_the_request_has_ended(stand: Stand) -> None:
    answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!"
    with answering(answer) as odd:
        stand.control.set_backends([odd])
        stand.control.await_up(["odd"], 5.0)
        got = stand.raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n" + b"x" * 1000)
    assert got.startswith(b"HTTP/1.1 413")
    assert got.endswith(b"no!")


def test_web_sockets_pass(stand: Stand) -> None:
    stand.have("a")

    async def talk() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{stand.url}/talk") as ws:
            for n in range(20):
                await ws.send_str(f"hello {n}")
                assert (await ws.receive(5)).data == f"a: hello {n}"
            large = os.urandom(3 * MB)
            await ws.send_bytes(large)
            assert (await ws.receive(10)).data == large
            assert stand.control.backends()["a"].outstanding == 1
            await ws.close()

    asyncio.run(talk())
    wait_for(lambda: stand.control.backends()["a"].outstanding == 0)
    assert stand.metrics()['edgewright_requests_in_flight{service="shop"}'] == 0


def test_an_upgrade_that_is_not_taken_is_an_ordinary_request(stand: Stand) -> None:
    stand.have("a")
    upgrade = b"Connection: Upgrade\r\nUpgrade: %b\r\n"
    first = b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + upgrade % b"h2c" + b"\r\nhello"
    second = b"GET /?two HTTP/1.1\r\nHost: a\r\n" + upgrade % b"other" + b"\r\n"
    last = b"GET /?three HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    got = stand.raw(first + second + last)
    assert got.count(b"HTTP/1.1 200 OK") == 3
    assert hashlib.sha256(b"hello").hexdigest().encode() in got


def test_pipelined_requests_are_answered_in_order(stand: Stand) -> None:
    stand.have("a", "b")
    requests = [f"POST /?ms={20 - 4 * n} HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n{'x' * n}" for n in range(5)]
    got = stand.raw("".join(requests).encode() + b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert [int(part.split(b",")[0]) for part in got.split(b'"bytes": ')[1:]] == [0, 1, 2, 3, 4]
    assert got.count(b"HTTP/1.1 200") == 6
    # Thousands that wait do not exhaust anything, with no backend either.
    stand.have()
    many = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5000
    got = stand.raw(many + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert got.count(b"HTTP/1.1 503") == 5001


def test_header_fields_are_of_one_hop_or_go_through(stand: Stand) -> None:
    stand.have("a")
    got = stand.raw(
        b"GET http://shop.example/?x HTTP/1.1\r\nHost: other\r\nConnection: close, x-secret\r\nX-Secret: 1\r\n"
        b"TE: trailers\r\nKeep-Alive: 5\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Kept: 2\r\n\r\n"
    )
    told = json.loads(got.partition(b"\r\n\r\n")[2])["headers"]
    assert told == {
        "Host": "shop.example",
        "X-Kept": "2",
        "X-Forwarded-For": "9.9.9.9, 127.0.0.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "shop.example",
    }


def test_clients_of_http_1_0_and_answers_that_end_with_the_connection(stand: Stand) -> None:
    stand.have("a")
    got = stand.raw(b"GET /stream?bytes=1000 HTTP/1.0\r\n\r\n")
    head, _, body = got.partition(b"\r\n\r\n")
    assert (len(body), b"chunked" in head, b"Connection: close" in head) == (1000, False, True)
    with answering(b"HTTP/1.1 200 OK\r\n\r\nuntil the end") as odd:
        stand.control.set_backends([odd])
        stand.control.await_up(["odd"], 5.0)
        with plain() as client:
            assert [client.get(stand.url).text for _ in range(3)] == ["until the end"] * 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
)
def test_a_backend_that_answers_nonsense(stand: Stand, answer: bytes) -> None:
    with answering(answer) as odd:
        stand.control.set_backends([odd])
        stand.control.await_up(["odd"], 5.0)
        for method in ("GET", "POST"):
            got = HTTP.request(method, stand.url)
            assert (got.status_code, set(got.json())) == (502, {"message"})


def test_an_answer_that_nobody_asked_for_goes_to_nobody(stand: Stand) -> None:
    twice = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"
    with answering(twice, close=False) as odd:
        stand.control.set_backends([odd])
        stand.control.await_up(["odd"], 5.0)
        with plain() as client:
            assert [client.get(stand.url).text for _ in range(5)] == ["first"] * 5


def test_a_cut_answer_is_seen_as_one(stand: Stand) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n") as odd:
        stand.control.set_backends([odd])
        stand.control.await_up(["odd"], 5.0)
        with pytest.raises(httpx.TransportError):
            HTTP.get(stand.url)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (POST + b"Content-Length: +5\r\n\r\nhello", 400),
        (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HOST + b"Host: b\r\n\r\n", 400),
        (HOST + b"X: a\r\n b\r\n\r\n", 400),
        (HOST + b"X: a\nY: b\r\n\r\n", 400),
        (HOST + b"X: a\0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET nonsense HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00", 400),
        (HOST + b"X: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (HOST + b"X: " + b"x" * 400_000, 431),
        (HOST + b"X: 1\r\n" * 10_000, 431),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * 400_000, 431),
    ],
)
def test_bad_requests(stand: Stand, request_: bytes, status: int) -> None:
    stand.have("a")
    got = stand.raw(request_)
    head, _, body = got.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert set(json.loads(body)) == {"message"}
    assert stand.process.poll() is None


def test_noise_ends_nothing(stand: Stand) -> None:
    """Requests with a few bytes changed, in pieces, from clients that leave at any moment."""
    stand.have("a", "b")
    draw = random.Random(0)
    good = [
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
        b"HEAD /?ms=3 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /stream?bytes=300000 HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    for _ in range(150):
        message = bytearray(b"".join(draw.choices(good, k=draw.randint(1, 4))))
        for _ in range(draw.randint(0, 2)):
            message[draw.randrange(len(message))] = draw.randrange(256)
        with (
            contextlib.suppress(ConnectionError, TimeoutError),
            socket.create_connection(("127.0.0.1", stand.port), timeout=0.02) as client,
        ):
            cut = draw.randint(0, len(message))
            client.sendall(message[:cut])
            if draw.random() < 0.5:
                client.recv(draw.choice((1, 100_000)))
            client.sendall(message[cut:])
            client.recv(100_000)
    assert names_of(stand, 6) == {"a", "b"}
    wait_for(lambda: {each.outstanding for each in stand.control.backends().values()} == {0})
    assert stand.metrics()['edgewright_requests_in_flight{service="shop"}'] == 0
