"""A backend for tests of the balancer: `python replica_program.py NAME ADDRESS PORT [DELAY_MS]`."""

from __future__ import annotations

import asyncio
import hashlib
import sys

from aiohttp import WSMsgType, web

NAME, ADDRESS, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
DELAY_S = float(sys.argv[4]) * 1e-3 if len(sys.argv) > 4 else 0.0


async def healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def who(request: web.Request) -> web.Response:
    """Its name, after a while; what it was told in the header fields."""
    body = await request.read()
    await asyncio.sleep(float(request.query.get("ms", 0)) * 1e-3 or DELAY_S)
    return web.json_response({"name": NAME, "bytes": len(body), "headers": dict(request.headers)})


async def digest(request: web.Request) -> web.Response:
    found, count = hashlib.sha256(), 0
    async for part in request.content.iter_chunked(1 << 16):
        found.update(part)
        count += len(part)
    return web.json_response({"bytes": count, "sha256": found.hexdigest()})


async def stream(request: web.Request) -> web.StreamResponse:
    """So many bytes, chunked or not."""
    count, block = int(request.query["bytes"]), bytes(range(256)) * 256
    answer = web.StreamResponse()
    if "length" in request.query:
        answer.content_length = count
    await answer.prepare(request)
    while count > 0:
        await answer.write(block[:count])
        count -= len(block)
    return answer


async def talk(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            await socket.send_str(f"{NAME}: {message.data}")
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


app = web.Application(client_max_size=1 << 30)
app.add_routes(
    [
        web.get("/healthz", healthz),
        web.route("*", "/", who),
        web.post("/digest", digest),
        web.get("/stream", stream),
        web.get("/talk", talk),
    ]
)
web.run_app(app, host=ADDRESS, port=PORT, print=None, access_log=None, keepalive_timeout=5, shutdown_timeout=1)
