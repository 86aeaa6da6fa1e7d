"""Policies of elasticity: when they fire, and what they do to services of this host."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgewright.core.documents import parse
from edgewright.core.errors import InputError
from edgewright.service.elasticity.rules import Armed, Policies, Policy, step

from .conftest import Client, until
from .ordering import OWN, Json, instance_of, loaded, onboarded, package, running, service_now

TEXT = """
format: edgewright.policies/1
policies:
  - name: out
    metric: rate_hz
    condition: {above: 40, clear: 30, for_s: 2}
    action: {replicas: 1}
    cooldown_s: 3
"""


def policy(**condition: Any) -> Policy:
    return Policy.model_validate(
        {
            "name": "p",
            "metric": "rate_hz",
            "condition": {"for_s": 2.0, **condition},
            "action": {"replicas": 1},
            "cooldown_s": 3.0,
        }
    )


def fired(rule: Policy, values: list[float | None]) -> list[int]:
    """Seconds at which it fires, one value a second."""
    state, found = Armed(), []
    for t, value in enumerate(values):
        state, fires = step(rule, state, float(t), value)
        if fires:
            found.append(t)
    return found


def test_it_fires_after_its_time_and_again_after_its_rest() -> None:
    assert fired(policy(above=40), [50.0] * 9) == [2, 5, 8]
    assert fired(policy(above=40), [50, 50, 39, 50, 50, 50]) == [5]


def test_a_metric_that_wavers_stays_armed_until_it_is_clear() -> None:
    assert fired(policy(above=40, clear=30), [50, 35, 50, 35, 50]) == [2]
    assert fired(policy(above=40, clear=30), [50, 29, 50, 35, 50]) == [4]
    assert fired(policy(above=40), [50, None, 50, 50, 50]) == [4]


def test_below_is_the_mirror() -> None:
    assert fired(policy(below=10, clear=20), [5, 15, 5, 25, 5, 5]) == [2]


@given(st.lists(st.floats(0, 100), max_size=40), st.floats(1, 99), st.floats(0, 1))
def test_it_never_fires_within_the_threshold_nor_before_its_time(
    values: list[float], above: float, part: float
) -> None:
    rule = policy(above=above, clear=above * part)
    times = fired(rule, list(values))
    assert all(values[t] > above for t in times)
    assert all(b - a >= 3 for a, b in itertools.pairwise(times))
    for t in times:
        assert min(values[t - 2 : t + 1]) > rule.condition.clear  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metric": "mood"}, "metric"),
        ({"condition": {"above": 1, "below": 2}}, "above"),
        ({"condition": {"above": 1, "clear": 2}}, "clear"),
        ({"condition": {"below": 1, "clear": 0}}, "clear"),
        ({"action": {}}, "replicas"),
        ({"action": {"replicas": 0}}, "replicas"),
        ({"action": {"move_cpu": {"cores": -1, "from_service": "b"}}}, "cores"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_policies_name_the_field(change: Json, field: str) -> None:
    document = yaml.safe_load(TEXT)
    document["policies"][0] |= change
    with pytest.raises(InputError) as told:
        parse(Policies, yaml.safe_dump(document), source="body", yaml_syntax=True)
    assert field in told.value.field


def put(client: Client, *policies: Json) -> None:
    text = yaml.safe_dump({"format": "edgewright.policies/1", "policies": list(policies)})
    answer = client.put(f"{OWN}/elasticity", content=text, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 200, answer.text


def late(client: Client, id: str, seconds: int = 3) -> float:
    """Share of late requests over the last seconds, as the service's loop sees it."""
    series = client.get(f"{OWN}/loops/{service_now(client, id)['loop']}/series?seconds={seconds}").json()
    shares = next(iter(series["services"].values()))["late"]
    return sum(shares) / max(len(shares), 1)


def test_under_rising_load_a_service_gets_replicas_and_gives_them_back(host: Client) -> None:
    id = running(host, onboarded(host, package(busy_s=0.004, cpu={"min": 0.05, "max": 0.6, "initial": 0.3})))
    more = {"name": "out", "metric": "rate_hz", "action": {"replicas": 1}, "cooldown_s": 2.0}
    fewer = more | {"name": "in", "action": {"replicas": -1}}
    put(
        host,
        more | {"condition": {"above": 12.0, "clear": 10.0, "for_s": 1.0}},
        fewer | {"condition": {"below": 4.0, "clear": 6.0, "for_s": 2.0}},
    )
    address = service_now(host, id)["address"]
    with loaded(address, threads=2, pause_s=0.5) as little:  # 4 requests a second at most
        with loaded(address, threads=8, pause_s=0.1) as much:
            until(lambda: service_now(host, id)["replicas"] == 3, 60)
            most = len(instance_of(host, id)["replica_states"])
        until(lambda: service_now(host, id)["replicas"] == 1, 60)
    assert most == 3
    assert little.failed + much.failed == []
    assert much.answered > 100
    assert {event["kind"] for event in host.get(f"{OWN}/loops/{service_now(host, id)['loop']}/events").json()} >= {
        "policy_fired"
    }


def test_a_policy_moves_cpu_from_an_idle_to_a_starved_slice(host: Client) -> None:
    slow = package(busy_s=0.01, slo={"percentile": 95.0, "response_ms": 100.0})
    specification = onboarded(host, slow | {"cpu": {"min": 0.05, "max": 1.0, "initial": 0.3}})
    idle = running(host, specification, "idle", cpu=0.6)
    starved = running(host, specification, "starved", cpu=0.1)
    with loaded(service_now(host, starved)["address"], threads=4, pause_s=0.1) as load:
        time.sleep(4)  # of measuring as it is
        before = late(host, starved)
        move = {"move_cpu": {"cores": 0.4, "from_service": "idle", "idle_below": 0.5}}
        condition = {"above": 0.2, "clear": 0.05, "for_s": 1.0}
        scope = {"service": "starved"}
        put(host, {"name": "m", "metric": "late_share", "condition": condition, "action": move, "scope": scope})
        until(lambda: service_now(host, starved)["cpu"] > 0.45, 60)
        assert service_now(host, idle)["cpu"] == pytest.approx(0.2)
        put(host)
        time.sleep(4)
        after = late(host, starved)
    assert load.failed == []
    print(f"late requests: {before:.0%} before, {after:.0%} after 0.4 cores moved")
    assert before > 0.2
    assert after < before / 2
    orders = host.get("/tmf-api/serviceOrdering/v4/serviceOrder?category=elasticity").json()
    assert [order["state"] for order in orders] == ["completed"]
