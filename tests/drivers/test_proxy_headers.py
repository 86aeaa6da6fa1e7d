"""What a balancer sends on, read by an independent parser (h11): one message, and the one that was meant."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.drivers.balancer.headers import HOP_BY_HOP, Refusal, answer_head, request_head

NAMES = st.one_of(
    st.sampled_from(
        [b"Connection", b"TE", b"Upgrade", b"Keep-Alive", b"X-Forwarded-For", b"X-Forwarded-Host", b"Trailer", b"X-A"]
    ),
    st.from_regex(rb"X-[A-Za-z0-9]{1,8}", fullmatch=True),
)
TOKENS = st.sampled_from(
    [b"close", b"keep-alive", b"upgrade", b"content-length", b"host", b"x-a", b"websocket", b"h2c", b"trailers", b"1"]
)
FIELDS = st.lists(st.tuples(NAMES, st.lists(TOKENS, min_size=1, max_size=3).map(b", ".join)), max_size=8)
FRAMING = st.one_of(
    st.just([]),
    st.integers(0, 10**9).map(lambda n: [(b"Content-Length", b"%d" % n)]),
    st.just([(b"transfer-encoding", b"Chunked")]),
)


@given(FIELDS, FRAMING, st.sampled_from([b"GET", b"POST"]))
def test_a_request(fields: list[tuple[bytes, bytes]], framing: list[tuple[bytes, bytes]], method: bytes) -> None:
    given_fields = [(b"hOST", b"shop:80"), *fields, *framing]
    head = request_head(method, b"/a?b", "1.1", given_fields, b"1.2.3.4")
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(head.wire)
    event = reader.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target, event.http_version) == (method, b"/a?b", b"1.1")
    found = list(event.headers)
    assert [value for name, value in found if name == b"host"] == [b"shop:80"]
    kept = {b"transfer-encoding"} if head.chunked else set()
    kept |= {b"connection", b"upgrade"} if head.upgrade else set()
    assert {name for name, _ in found} & HOP_BY_HOP == kept
    assert [value for name, value in found if name == b"content-length"] == [
        value for name, value in framing if name == b"Content-Length"
    ]
    last = [value for name, value in found if name == b"x-forwarded-for"]
    assert len(last) == 1
    assert last[0].endswith(b"1.2.3.4")
    assert not (head.upgrade and head.has_body)
    assert b"h2c" not in [token for name, value in found if name == b"upgrade" for token in value.split(b", ")]


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ([b"h2c"], None),
        ([b"H2C/1 "], None),
        ([b"h2c, websocket"], b"websocket"),
        ([b"a,, h2c", b"b/2"], b"a, b/2"),
    ],
)
def test_no_way_to_http_2_unseen(asked: list[bytes], sent: bytes | None) -> None:
    fields = [(b"Host", b"a"), (b"Connection", b"Upgrade"), *((b"Upgrade", value) for value in asked)]
    head = request_head(b"GET", b"/", "1.1", fields, b"1.2.3.4")
    assert head.upgrade == (sent is not None)
    assert (b"Upgrade: %b\r\n" % sent in head.wire) if sent else b"pgrade" not in head.wire


@given(FIELDS, FRAMING, st.sampled_from([200, 204, 304, 404, 500]), st.booleans(), st.booleans())
def test_an_answer(
    fields: list[tuple[bytes, bytes]], framing: list[tuple[bytes, bytes]], status: int, old: bool, keep: bool
) -> None:
    head = answer_head(status, b"OK", [*fields, *framing], bodiless=status in (204, 304), old_client=old, keep=keep)
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.receive_data(head.wire)
    event = reader.next_event()
    assert isinstance(event, h11.Response)
    found = dict(event.headers)
    assert (b"transfer-encoding" in found) == head.chunked
    assert not (head.chunked and (old or b"content-length" in found))
    assert (found.get(b"connection") == b"close") == (not head.keep)
    assert head.keep <= keep
    if old and status not in (204, 304) and b"content-length" not in found:
        assert not head.keep  # its body ends with the connection


@pytest.mark.parametrize(
    ("target", "host", "sent"),
    [
        (b"/", b"a", (b"/", b"a")),
        (b"http://b", b"a", (b"/", b"b")),
        (b"http://b:80?x", b"a", (b"/?x", b"b:80")),
        (b"HTTP://[::1]:80/x", b"", (b"/x", b"[::1]:80")),
    ],
)
def test_targets(target: bytes, host: bytes, sent: tuple[bytes, bytes]) -> None:
    wire = request_head(b"GET", target, "1.1", [(b"Host", host)], b"1.2.3.4").wire
    assert wire.startswith(b"GET %b HTTP/1.1\r\nHost: %b\r\n" % sent)


@pytest.mark.parametrize("target", [b"*", b"a", b"/#x", b"ftp://a/", b"http://u@a/", b"http://a#/", b"http:///x"])
def test_targets_that_are_refused(target: bytes) -> None:
    with pytest.raises(Refusal):
        request_head(b"GET", target, "1.1", [(b"Host", b"a")], b"1.2.3.4")
