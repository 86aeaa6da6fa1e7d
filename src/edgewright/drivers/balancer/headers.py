"""From the head of an HTTP/1.1 message to the one that a reverse proxy sends on (RFC 9110, 9112), on parsed fields.

The framing of what is sent on is decided here anew, never copied, so that both sides see the same message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HEAD_BYTES = 32 * 1024
Fields = Sequence[tuple[bytes, bytes]]
# RFC 9110 7.6.1, and Trailer as trailers are not sent on (6.5.1). What Connection names is added to these.
HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_REWRITTEN = frozenset(
    (b"host", b"content-length", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", *HOP_BY_HOP)
)
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")
_ABSOLUTE = re.compile(rb"https?://([^/?@]+)([/?].*)?", re.IGNORECASE)


class Refusal(Exception):
    """A message that is not sent on: the status and the sentence that its sender gets."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class RequestHead:
    wire: bytes
    chunked: bool
    length: int  # bytes of the body; 0 where it is chunked
    upgrade: bool

    @property
    def has_body(self) -> bool:
        return self.chunked or self.length > 0


@dataclass(frozen=True, slots=True)
class AnswerHead:
    wire: bytes
    chunked: bool
    framed: bool  # by the backend: else its body ends with the connection
    keep: bool  # whether the client's connection outlives the answer


def request_head(method: bytes, target: bytes, version: str, fields: Fields, peer: bytes) -> RequestHead:
    """The head for a backend of a client's request. Raises Refusal."""
    if version not in ("1.0", "1.1"):
        raise Refusal(505, "HTTP/1.1 is spoken here")
    if method == b"CONNECT":
        raise Refusal(501, "CONNECT is not supported")
    hosts, named, forwarded, kept = [], set(), [], []
    length, coding, upgrades = 0, b"", []
    for name, value in fields:
        key = name.lower()
        if key not in _REWRITTEN:
            kept.append((key, name, value))
        elif key == b"host":
            hosts.append(value.strip())
        elif key == b"connection":
            named |= _tokens(value)
        elif key == b"content-length":
            length = int(value)
            kept.append((b"", name, value))  # no token of Connection takes it away
        elif key == b"transfer-encoding":
            coding += value.strip().lower()
        elif key == b"upgrade":
            upgrades += [protocol for each in value.split(b",") if (protocol := each.strip())]
        elif key == b"x-forwarded-for":
            forwarded.append(value.strip())
    chunked = bool(coding)
    if chunked and (version == "1.0" or coding != b"chunked"):
        raise Refusal(400 if version == "1.0" else 501, "Transfer-Encoding: chunked alone is understood, in HTTP/1.1")
    if len(hosts) > 1 or (not hosts and version == "1.1") or not all(_HOST.fullmatch(host) for host in hosts):
        raise Refusal(400, "one valid Host is needed")
    target, host = _target(method, target, hosts[0] if hosts else b"")
    # HTTP/2 without TLS is no tunnel of one request: through it others would pass by here unseen.
    upgrades = [protocol for protocol in upgrades if protocol.lower().partition(b"/")[0] != b"h2c"]
    tunnel = b"upgrade" in named and bool(upgrades) and not (chunked or length)
    lines = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, target, host)]
    lines += [b"%b: %b\r\n" % (name, value) for key, name, value in kept if key not in named]
    if chunked:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    if tunnel:
        lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % b", ".join(upgrades))
    lines.append(
        b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: %b\r\n\r\n"
        % (b", ".join([*forwarded, peer]), host)
    )
    return RequestHead(b"".join(lines), chunked, length, tunnel)


def answer_head(
    status: int, reason: bytes, fields: Fields, *, bodiless: bool, old_client: bool, keep: bool
) -> AnswerHead:
    """The head for the client of a backend's answer.

    bodiless: by the request's method or the status; old_client: it speaks HTTP/1.0. Raises Refusal.
    """
    named: set[bytes] = set()
    length = coding = upgrade = None
    for name, value in fields:
        key = name.lower()
        if key == b"connection":
            named |= _tokens(value)
        elif key == b"content-length":
            length = value
        elif key == b"transfer-encoding":
            coding = value.strip().lower()
        elif key == b"upgrade":
            upgrade = value
    if coding not in (None, b"chunked"):
        raise Refusal(502, "the backend answered in a transfer coding that is not understood")
    named.discard(b"content-length")
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, reason)]
    for name, value in fields:
        key = name.lower()
        if key not in HOP_BY_HOP and key not in named:
            lines.append(b"%b: %b\r\n" % (name, value))
    bodiless = bodiless or status < 200
    chunked = not bodiless and length is None and not old_client
    if status == 101:
        lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % (upgrade or b""))
    elif status >= 200:
        if chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        keep = keep and (bodiless or chunked or length is not None)
        if not keep:
            lines.append(b"Connection: close\r\n")
        elif old_client:
            lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return AnswerHead(b"".join(lines), chunked, bodiless or length is not None or coding is not None, keep)


def size_bytes(fields: Iterable[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in fields)


def _target(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """In origin form, and the host that it is meant for: the absolute form's goes before Host (RFC 9112 3.2)."""
    if b"#" not in target:
        if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
            return target, host
        if (match := _ABSOLUTE.fullmatch(target)) and _HOST.fullmatch(match[1]):
            rest = match[2] or b"/"
            return rest if rest.startswith(b"/") else b"/" + rest, match[1]
    raise Refusal(400, "the request target is not understood")


def _tokens(value: bytes) -> set[bytes]:
    return {token.strip().lower() for token in value.split(b",")}
