"""What stands before every route: the Host header, the body's size, and the worker that runs the loops."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import quote

import httpx
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgewright.service import CHANGE_TIMEOUT_S
from edgewright.service.api.errors import APIS, answer
from edgewright.service.api.tmf.errors import ROOT
from edgewright.service.loops.leases import LEASE
from edgewright.service.runtime import Runtime
from edgewright.service.settings import Settings
from edgewright.service.store import StoreError

MAX_BODY_BYTES = 1_000_000
FORWARD_TIMEOUT_S = 30.0  # but for the answer to a change
STREAMED = "/api/edgewright/v1/artefacts/"  # written to a file as it comes, with a limit of its own
LOCAL = re.compile(
    r"^/api/edgewright/v1/(loops|backhauls|migrations)/[^/]+/(decisions|events)$"
)  # read from the store, by any process, as is every resource of the TM Forum's APIs


@dataclass
class HostGate:
    """Refuses a Host header that is neither an address, nor localhost, nor a name from the settings.

    A page of another site can make a browser call us by a name of its own (DNS rebinding), never by an address.
    """

    app: ASGIApp
    settings: Settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self._allowed(Headers(scope=scope).get("host", "")):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            text = "this server is not called that; see EDGEWRIGHT_ALLOWED_HOSTS"
            await answer(400, text, field="Host")(scope, receive, send)
            return
        if "\0" in scope.get("path", ""):  # PostgreSQL takes none, not even to look for it
            await answer(404, "nothing has a NUL in its name")(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _allowed(self, host: str) -> bool:
        name = re.sub(r":\d+$", "", host).strip("[]").lower()
        if name in {"localhost", self.settings.host.lower(), *(known.lower() for known in self.settings.allowed_hosts)}:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


@dataclass
class BodyLimit:
    """Refuses bodies over `MAX_BODY_BYTES`, by their declared and by their real size."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(APIS) or scope["path"].startswith(STREAMED):
            await self.app(scope, receive, send)
            return
        refusal = answer(413, f"a body over {MAX_BODY_BYTES} bytes", field="body", allowed=f"{MAX_BODY_BYTES} bytes")
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdigit() or int(declared) > MAX_BODY_BYTES:
            await refusal(scope, receive, send)
            return
        chunks, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            chunks.append(message.get("body", b""))
            size, more = size + len(chunks[-1]), message.get("more_body", False)
            if size > MAX_BODY_BYTES:
                await refusal(scope, receive, send)
                return
        whole: Message | None = {"type": "http.request", "body": b"".join(chunks), "more_body": False}

        async def replay() -> Message:
            nonlocal whole
            if whole is None:
                return await receive()
            message, whole = whole, None
            return message

        await self.app(scope, replay, send)


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        yield message.get("body", b"")


@dataclass
class Forward:
    """Hands calls that concern the loops to the worker that runs them, where this process does not."""

    app: ASGIApp
    runtime: Runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        others = path.startswith(APIS) and not _is_local(scope.get("method"), path)
        if scope["type"] != "http" or self.runtime.active or not others:
            await self.app(scope, receive, send)
            return
        await (await self._ask(scope, receive))(scope, receive, send)

    async def _ask(self, scope: Scope, receive: Receive) -> Response:
        try:
            address = self.runtime.leases.address_of(LEASE)
        except StoreError as error:
            return answer(503, str(error))
        if address is None or address == self.runtime.leases.address:
            return answer(503, "no worker runs the loops now")
        passed = ("authorization", "x-api-key", "content-type", "content-length", "accept")
        headers = {name: value for name, value in Headers(scope=scope).items() if name in passed}
        # As it came: decoded, a %3F in a name would begin the query.
        path = scope.get("raw_path") or quote(scope["path"]).encode()
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        url = address + (path + query).decode("latin-1")
        reads = scope["method"] in ("GET", "HEAD")
        timeout = httpx.Timeout(FORWARD_TIMEOUT_S, read=FORWARD_TIMEOUT_S if reads else CHANGE_TIMEOUT_S)
        try:
            async with httpx.AsyncClient(timeout=timeout, trust_env=False) as client:
                got = await client.request(scope["method"], url, content=_body(receive), headers=headers)
        except httpx.InvalidURL as error:
            return answer(400, f"the address: {error}", field="path")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return answer(503, f"the worker that runs the loops does not answer: {error!r}")
        except httpx.HTTPError as error:  # it may have got the call before
            return answer(504, f"the worker that runs the loops did not answer, the outcome is unknown: {error!r}")
        told = ("content-type", "location", "www-authenticate", "allow", "accept-patch")
        kept = {name: got.headers[name] for name in told if name in got.headers}
        return Response(got.content, got.status_code, kept)


def _is_local(method: str | None, path: str) -> bool:
    return LOCAL.match(path) is not None or (method == "GET" and path.startswith(ROOT))
