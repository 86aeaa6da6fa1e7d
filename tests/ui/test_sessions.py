"""The key in the address, without a browser."""

from __future__ import annotations

import httpx

from .conftest import Server, until


def kept(server: Server) -> list[str]:
    return [file.read_text() for file in server.sessions.glob("*.json")]


def test_only_a_key_that_the_api_knows_is_kept(server: Server) -> None:
    assert server.key
    before = len(kept(server))
    with httpx.Client(base_url=server.address, trust_env=False, timeout=20.0) as stranger:
        for key in ("wrong", "", "\N{SNOWMAN}", "a\nb"):
            answer = stranger.get("/", params={"key": key, "loop": "pages"})
            assert (answer.status_code, answer.headers["Location"]) == (303, "/?loop=pages")
    assert len(kept(server)) == before
    with httpx.Client(base_url=server.address, trust_env=False, timeout=20.0) as visitor:
        assert visitor.get("/", params={"key": server.key}).headers["Location"] == "/"
        until(lambda: len(kept(server)) == before + 1)
        visitor.get("/", params={"key": "a link on another site"})
    assert len(kept(server)) == before + 1
    assert any(server.key in text for text in kept(server))
    assert not any("another site" in text for text in kept(server))
