"""What a backhaul loop shows and does, and what it does when something fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from edgewright.backhaul.driver import simulated as twin
from edgewright.backhaul.model import Network
from edgewright.drivers.capabilities import Capability
from edgewright.drivers.forwarding import Counters, RouteError
from edgewright.drivers.simulated_network import SimulatedNetwork
from edgewright.service.loops import backhaul, planes
from edgewright.service.loops.planes import PlaneChoice

from .backhauls import ROOT, Json, carries, events, get, order, paths, routed, scenario, with_backhaul
from .conftest import PREFIX, Client, running, settings, until


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with routed(with_backhaul(tmp_path)) as client:
        yield client


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """For tests that leave no trace."""
    with routed(with_backhaul(tmp_path_factory.mktemp("shared"))) as client:
        yield client


# What is shown


def test_view_has_network_flows_and_figures(shared: Client) -> None:
    until(lambda: carries(shared))
    seen = get(shared)
    assert seen["driver"] == {"kind": "simulated", "reason": "asked for by the scenario"}
    assert (seen["nodes"], seen["donors"], len(seen["links"])) == (6, [0, 1], 9)
    assert seen["flows"][2]["path"] == {"index": 0, "band": "mmwave", "nodes": [4, 2, 0], "links": [3, 0]}
    assert seen["efficiency"] == pytest.approx(1.0, abs=0.02)
    assert seen["links"][0]["load_mbps"] == pytest.approx(18.0, rel=0.02)
    assert seen["demand"] == {"matrix": 0, "stays": False, "factor": 1.0, "matrices": [0, 1, 2], "hold_s": None}
    assert [each["name"] for each in shared.get(ROOT).json()] == ["backhaul"]
    assert get(shared, "/scenario")["network"]["name"] == "six"
    assert f"{ROOT}/{{name}}/links/{{index}}/break" in shared.get("/api/openapi.json").json()["paths"]


def test_series_has_a_value_per_time(shared: Client) -> None:
    until(lambda: len(get(shared, "/series")["t"]) >= 3)
    series = get(shared, "/series?seconds=60")
    assert series["t"] == sorted(series["t"])
    assert {len(column) for column in series.values()} == {len(series["t"])}
    assert set(series) == {"t", "efficiency", "jain", "carried_mbps", "offered_mbps", "broken_links"}


def test_metrics_and_health(shared: Client) -> None:
    assert shared.get("/healthz").json() == {"status": "ok", "reasons": []}
    text = shared.get("/metrics").text
    assert 'edgewright_backhaul_efficiency_ratio{loop="backhaul"}' in text


# What the loop does


def test_a_broken_link_is_planned_around_and_recorded(client: Client) -> None:
    until(lambda: carries(client))
    assert order(client, "POST", "/links/0/break") == {"index": 0, "up": False}
    until(lambda: paths(client) == [1, 0, 1, 0])
    until(lambda: carries(client))
    assert not get(client)["links"][0]["up"]
    until(lambda: len(get(client, "/decisions")) == 2)
    plan = get(client, "/decisions?changed_only=true")[0]
    assert plan["why"] == "link 2–0 mmWave broke"
    assert plan["observation"]["broken"] == [0]
    assert plan["wanted"] == plan["allowed"] == plan["choice"] == [1, 0, 1, 0]
    assert plan["outcome"] == {"done": {"flows.0": 1, "flows.2": 1}, "refused": {}}
    assert plan["value"]["after"] > plan["value"]["before"]
    move = plan["moves"][1]
    assert (move["source"], move["before"]["nodes"], move["after"]["nodes"]) == (4, [4, 2, 0], [4, 3, 1])
    assert move["reason"].startswith("its old path is broken")
    order(client, "POST", "/links/0/repair")
    until(lambda: get(client)["efficiency"] > 0.99 and get(client)["links"][0]["up"])
    until(lambda: events(client, "link_repaired") == ["link 2–0 mmWave"])
    assert events(client, "link_failed") == ["link 2–0 mmWave"]
    assert len(events(client, "replanned")) == 2


def test_shadow_records_and_paused_does_nothing(client: Client) -> None:
    before = paths(client)
    order(client, "PATCH", "", {"mode": "shadow"})
    order(client, "POST", "/links/0/break")
    until(lambda: "broke" in get(client)["last_decision"]["why"])
    advice = get(client)["last_decision"]
    assert (advice["mode"], advice["changed"], len(advice["moves"])) == ("shadow", False, 2)
    assert paths(client) == before
    order(client, "PATCH", "", {"mode": "paused"})
    order(client, "POST", "/links/5/break")
    until(lambda: len(events(client, "link_failed")) == 2)
    assert get(client)["last_decision"]["seq"] == advice["seq"]
    order(client, "PATCH", "", {"mode": "act"})
    until(lambda: len(get(client)["last_decision"]["outcome"]["done"]) >= 3)
    until(lambda: carries(client))
    assert "link 5–3 mmWave broke, the mode is now act" in get(client)["last_decision"]["why"]
    until(lambda: len(events(client, "mode")) == 3)


def test_a_planner_that_stays_does_not_move(client: Client) -> None:
    before = paths(client)
    assert order(client, "PATCH", "", {"planner": "stay"})["planner"] == "stay"
    order(client, "POST", "/links/0/break")
    until(lambda: "broke" in get(client)["last_decision"]["why"])
    assert (get(client)["last_decision"]["moves"], paths(client)) == ([], before)
    order(client, "PATCH", "", {"planner": "search"})
    until(lambda: carries(client))


def test_demand_is_planned_for(client: Client) -> None:
    assert order(client, "PUT", "/demand", {"matrix": 1})["stays"]
    until(lambda: paths(client) == [2, 0, 0, 0])
    assert get(client)["last_decision"]["why"] == "the demand is now matrix 1"
    order(client, "PUT", "/demand", {"factor": 0.5})
    until(lambda: carries(client) and get(client)["offered_mbps"] == 19.5)
    assert get(client)["demand"]["matrix"] == 1
    assert not order(client, "PUT", "/demand", {"matrix": None})["stays"]


def test_matrices_take_turns(tmp_path: Path) -> None:
    with routed(with_backhaul(tmp_path, scenario(hold_s=0.2))) as client:
        until(
            lambda: (
                {plan["why"] for plan in get(client, "/decisions")}
                >= {f"the demand is now matrix {i}" for i in (0, 1, 2)}
            )
        )


class Unwilling(SimulatedNetwork):
    """Refuses a flow's paths while told to, loses one unseen, cannot be looked at."""

    refused: int | None = None
    blind = False

    def route(self, flow: int, path: Sequence[int]) -> None:
        if flow == self.refused:
            raise RouteError(flow, "not now")
        super().route(flow, path)

    def counters(self) -> Counters:
        if self.blind:
            raise OSError("nothing to be seen")
        return super().counters()

    def lose(self, flow: int) -> None:
        with self._lock:
            self._paths[flow] = ()


@contextmanager
def unwilling(folder: Path) -> Iterator[tuple[Client, Unwilling]]:
    made: list[Unwilling] = []

    def make(choice: PlaneChoice, network: Network) -> Unwilling:
        plane = twin(network)
        made.append(Unwilling(plane.layout, plane._rates, plane._known))
        return made[-1]

    with running(settings(folder)) as client:
        assert client.made.runtime is not None
        client.made.runtime.backhauls.make = make
        assert client.post(ROOT, json=scenario()).status_code == 201
        until(lambda: get(client)["last_decision"])
        yield client, made[0]


def test_a_refused_path_keeps_the_old_one_warns_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backhaul, "AGAIN_S", 0.2)
    with unwilling(tmp_path) as (client, plane):
        plane.refused = 2
        order(client, "POST", "/links/0/break")
        until(lambda: get(client)["warnings"] == ["refused flows.2: not now"])
        assert paths(client) == [1, 0, 0, 0]
        assert "backhaul backhaul: refused flows.2: not now" in client.get("/healthz").json()["reasons"]
        until(lambda: get(client)["last_decision"]["why"] == "tried again")
        assert get(client)["last_decision"]["outcome"]["refused"] == {"flows.2": "not now"}
        until(lambda: len(events(client, "refused")) == 1)
        plane.refused = None
        until(lambda: paths(client) == [1, 0, 1, 0])
        until(lambda: get(client)["warnings"] == [])


def test_a_path_that_the_network_lost_is_put_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backhaul, "SHORT_S", 0.3)
    with unwilling(tmp_path) as (client, plane):
        until(lambda: carries(client))
        plane.lose(1)
        until(lambda: not carries(client))
        until(lambda: carries(client))
        until(lambda: events(client, "rates_back"))
        assert "node" in events(client, "put_again")[0]


def test_a_network_that_cannot_be_looked_at_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backhaul, "GIVEN_UP_S", 0.2)
    monkeypatch.setattr(backhaul, "START_AGAIN_S", 1.0)
    with unwilling(tmp_path) as (client, plane):
        order(client, "PUT", "/demand", {"matrix": 1})
        until(lambda: paths(client) == [2, 0, 0, 0])
        plane.blind = True
        until(lambda: events(client, "step_failed") == ["OSError: nothing to be seen"])
        until(lambda: get(client)["phase"] == "failed")
        until(lambda: get(client)["phase"] == "running")
        until(lambda: carries(client))
        assert (paths(client), get(client)["warnings"]) == ([2, 0, 0, 0], [])
        until(lambda: len(events(client, "started")) >= 2)


# Bad input


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("planner", {"planner": "best"}),
        ("network", {"network": "net.json"}),
        ("network.nodes", {"network": {"format": "edgewright.backhaul/1", "name": "x", "nodes": 1}}),
        ("format", {"format": "edgewright.scaling/1"}),
        ("name", {"name": "backhaul"}),
        ("name", {"name": "demo"}),
    ],
)
def test_bad_scenario_is_refused(shared: Client, field: str, more: Json) -> None:
    answer = shared.post(ROOT, json=scenario("other") | more)
    assert answer.status_code == 400
    assert answer.json()["field"] == field
    assert answer.json()["allowed"]
    assert [each["name"] for each in shared.get(ROOT).json()] == ["backhaul"]


def test_names_are_of_one_loop_whatever_its_kind(shared: Client) -> None:
    given = get(shared, "/scenario", "backhaul")
    taken = shared.get(f"{PREFIX}/loops/demo/scenario").json() | {"name": given["name"]}
    assert shared.post(f"{PREFIX}/loops", json=taken).json()["field"] == "name"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("PATCH", "/backhaul", {}, 400, "body"),
        ("PATCH", "/backhaul", {"mode": "fast"}, 400, "mode"),
        ("PATCH", "/backhaul", {"planner": "best"}, 400, "planner"),
        ("PUT", "/backhaul/demand", {}, 400, "body"),
        ("PUT", "/backhaul/demand", {"matrix": 9}, 400, "matrix"),
        ("PUT", "/backhaul/demand", {"factor": -1.0}, 400, "factor"),
        ("PUT", "/backhaul/demand", {"factor": 1e9}, 400, "factor"),
        ("PUT", "/backhaul/demand", {"factor": None}, 400, "factor"),
        ("POST", "/backhaul/links/9/break", None, 404, None),
        ("POST", "/backhaul/links/-1/repair", None, 404, None),
        ("POST", "/backhaul/links/x/break", None, 400, "index"),
        ("GET", "/backhaul/series?seconds=0", None, 400, "seconds"),
        ("GET", "/none", None, 404, None),
        ("GET", "/none/decisions", None, 404, None),
        ("GET", "/demo", None, 404, None),
        ("DELETE", "/none", None, 404, None),
    ],
)
def test_bad_orders_are_refused(
    shared: Client, method: str, path: str, body: object, status: int, field: str | None
) -> None:
    answer = shared.request(method, ROOT + path, json=body)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


def test_a_network_that_does_not_start_is_told_and_its_links_are_in_conflict(tmp_path: Path) -> None:
    def fail(choice: PlaneChoice, network: Network) -> SimulatedNetwork:
        raise OSError("no room")

    with running(settings(tmp_path)) as client:
        assert client.made.runtime is not None
        client.made.runtime.backhauls.make = fail
        assert client.post(
            ROOT, content=yaml.safe_dump(scenario()), headers={"Content-Type": "application/yaml"}
        ).is_success
        until(lambda: get(client)["phase"] == "failed")
        assert get(client)["warnings"] == ["start: OSError: no room"]
        answer = client.post(f"{ROOT}/backhaul/links/0/break")
        assert (answer.status_code, answer.json()["message"]) == (409, "the network of backhaul is failed")


def test_a_host_that_emulates_nothing_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "probe_one", lambda name: Capability(name, name, False, "no program `ip`"))
    with running(settings(tmp_path, driver="auto")) as client:
        answer = client.post(ROOT, json=scenario(driver="emulated"))
        assert (answer.status_code, answer.json()["field"]) == (400, "driver")
        assert "no program `ip`" in answer.json()["allowed"]
        assert client.get(ROOT).json() == []
        found = client.post(ROOT, json=scenario(driver="auto")).json()["driver"]
        assert found == {"kind": "simulated", "reason": "this host can emulate no network: no program `ip`"}
