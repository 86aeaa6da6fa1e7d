from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from edgewright.service.ui import words
from edgewright.service.ui.client import Api, ApiError, ApiGone
from edgewright.service.ui.shapes import Decision, DriverInfo, LoopState, ServiceState, SliceState, Slo


def service(name: str, **more: Any) -> ServiceState:
    return ServiceState(**{"name": name, "slo_ok": True, "response_p95_ms": 30.0, "late_in_window": 0.0, **more})


def loop(services: list[ServiceState], **more: Any) -> LoopState:
    return LoopState(
        name="demo",
        mode="act",
        policy="model",
        driver=DriverInfo(kind="linux"),
        slo=Slo(response_ms=50.0),
        slice=SliceState(cpu=1.5, cpu_left=0.5, memory_bytes=2e9, memory_left_bytes=1e9),
        services=services,
        **more,
    )


@pytest.mark.parametrize(
    ("services", "level", "text"),
    [
        ([service("a"), service("b"), service("c")], "ok", "All 3 services inside their SLO"),
        ([service("a")], "ok", "a inside its SLO"),
        ([service("a", slo_ok=False, failed=0.5)], "bad", "a outside: 50 % of requests failed"),
        (
            [service("a", slo_ok=False, late_in_window=0.08), service("b")],
            "bad",
            "a outside: 8.0 % of requests late in the last 5 s (5.0 % allowed)",
        ),
        ([service("a", alive=False), service("b")], "bad", "a down"),
        (
            [service("a"), service("b", slo_ok=None)],
            "quiet",
            "1 of 2 services inside their SLO; no requests to b in the last 5 s",
        ),
    ],
)
def test_verdict(services: list[ServiceState], level: str, text: str) -> None:
    assert words.verdict(loop(services)) == (level, text)


def test_services_are_not_down_while_they_start() -> None:
    starting = loop([service("a", alive=False, slo_ok=None)], phase="starting")
    assert words.verdict(starting) == ("quiet", "Starting a")


def test_verdict_of_several_names_the_worst() -> None:
    late = [service(name, slo_ok=False, late_in_window=share) for name, share in (("a", 0.06), ("b", 0.4))]
    told = "2 of 2 services outside, worst b: 40 % of requests late in the last 5 s (5.0 % allowed)"
    assert words.verdict(loop(late)) == ("bad", told)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0.0 %"), (0.0004, "<0.1 %"), (0.031, "3.1 %"), (0.57, "57 %"), (1.0, "100 %")],
)
def test_share(value: float | None, text: str) -> None:
    assert words.share(value) == text


def test_changes_tell_moved_limited_and_refused() -> None:
    decision = Decision.model_validate(
        {
            "seq": 7,
            "t": 0.0,
            "observation": {name: {"limit_cpu": 0.3} for name in ("moved", "limited", "refused", "kept")},
            "allowed": {
                name: {"cpu": cpu} for name, cpu in (("moved", 0.4), ("limited", 0.3), ("refused", 0.5), ("kept", 0.3))
            },
            "reasons": {"moved": "busy"},
            "verdict": {"changed": True, "notes": {"moved": "allowed", "limited": "cut to 0.3: the slice has 1 CPU"}},
            "outcome": {"done": {"moved": {"cpu": 0.4}}, "refused": {"refused": "cpu: EBUSY"}},
        }
    )
    found = {change.service: change for change in words.changes(decision)}
    assert set(found) == {"moved", "limited", "refused"}
    assert (found["moved"].limits, found["moved"].reason, found["moved"].result) == ("0.300 → 0.400", "busy", "Done")
    assert (found["limited"].guard, found["limited"].result) == ("cut to 0.3: the slice has 1 CPU", "Kept")
    assert (found["refused"].level, found["refused"].result) == ("bad", "Refused: cpu: EBUSY")


def test_advice_is_not_called_done() -> None:
    body = {"observation": {"a": {"limit_cpu": 0.3}}, "allowed": {"a": {"cpu": 0.4}}}
    advice = Decision.model_validate({"seq": 1, "t": 0.0, "mode": "shadow", **body})
    assert words.changes(advice)[0].result == "Not applied (shadow)"


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("service_died", "bad"),
        ("database_back", "ok"),
        ("service_restarted", "warn"),
        ("mode", "quiet"),
        ("refused", "bad"),
    ],
)
def test_event_level(kind: str, level: str) -> None:
    assert words.event_level(kind) == level


async def _ask(answer: httpx.Response | Exception) -> object:
    def handle(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle), base_url="http://localhost") as http:
        return await Api(http).loops()


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (httpx.Response(400, json={"message": "cpu: got 7"}), ApiError, "cpu: got 7"),
        (
            httpx.Response(400, json={"message": "no", "field": "cpu", "given": 7, "allowed": "0.1 .. 1"}),
            ApiError,
            "no; cpu: got 7; allowed: 0.1 .. 1",
        ),
        (httpx.Response(502, text="<html>"), ApiError, "502 Bad Gateway"),
        (httpx.Response(200, text="<html>"), ApiGone, "/loops answered in a form this page does not know"),
        (httpx.ConnectError("refused"), ApiGone, "refused"),
        (httpx.ReadTimeout(""), ApiGone, "no answer in time"),
    ],
)
def test_what_the_api_says_is_shown(answer: httpx.Response | Exception, error: type[Exception], text: str) -> None:

    with pytest.raises(error, match=text.replace(".", r"\.")):
        asyncio.run(_ask(answer))
