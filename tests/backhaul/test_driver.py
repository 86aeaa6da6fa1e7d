"""What the backhaul driver must do, on an emulated network of the real kernel and on the twin alike."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from edgewright.backhaul.driver import BackhaulDriver, Observation, layout, simulated
from edgewright.backhaul.model import NO_PATH, Problem, read_network
from edgewright.backhaul.rates import max_min_rates
from edgewright.backhaul.replanning import replan
from edgewright.core.errors import InputError
from edgewright.drivers.forwarding import RouteError
from edgewright.drivers.linux.network import CORE, SINK, EmulatedNetwork
from edgewright.drivers.linux.traffic import Traffic
from edgewright.drivers.simulated_network import SimulatedNetwork

WIDE = 40.0  # more than any flow gets
NETWORK = read_network(Path(__file__).parents[2] / "examples" / "emulated_backhaul" / "network.json")
ATTEMPTS = 4
FIRST = np.zeros(4, dtype=np.int64)


class Bench(Protocol):
    """A plane under test, and what a test does to the world around it."""

    plane: EmulatedNetwork | SimulatedNetwork

    def offer(self, demand_mbps: list[float]) -> None: ...
    def settle(self, seconds: float) -> None: ...
    def close(self) -> None: ...


class EmulatedBench:
    def __init__(self) -> None:
        self.plane = EmulatedNetwork(layout(NETWORK))
        places = [(self.plane.namespace(f.source), self.plane.address(i)) for i, f in enumerate(NETWORK.flows)]
        self.traffic = Traffic(places, (self.plane.namespace(CORE), SINK))

    def offer(self, demand_mbps: list[float]) -> None:
        self.traffic.offer(demand_mbps)

    def settle(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        self.traffic.close()
        self.plane.close()


class SimulatedBench:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.plane = simulated(NETWORK, clock=lambda: self.now_s)

    def offer(self, demand_mbps: list[float]) -> None:
        self.plane.offer(demand_mbps)

    def settle(self, seconds: float) -> None:
        self.now_s += seconds

    def close(self) -> None:
        self.plane.close()


@pytest.fixture(params=[SimulatedBench, pytest.param(EmulatedBench, marks=pytest.mark.real)])
def bench(request, require) -> Iterator[Bench]:
    if request.param is EmulatedBench:
        require("network-emulation")
    made = request.param()
    yield made
    made.close()


def agreed(bench: Bench, driver: BackhaulDriver, expected) -> Observation:
    """Medians of looks, once every flow has its expected rate: a busy machine stands still at times."""
    wanted = pytest.approx(np.asarray(expected), rel=0.1, abs=0.05)
    for _ in range(ATTEMPTS):
        bench.settle(0.5)
        driver.observe()
        looks = []
        for _ in range(7):
            bench.settle(0.2)
            looks.append(driver.observe())
        rates, load = (np.median([getattr(o, name) for o in looks], axis=0) for name in ("rates_mbps", "load_mbps"))
        if rates == wanted:
            break
    assert rates == wanted
    return replace(looks[-1], rates_mbps=rates, load_mbps=load)


def fair(demand: list[float], choice: np.ndarray, broken: frozenset[int] = frozenset()) -> np.ndarray:
    return max_min_rates(Problem(NETWORK, np.array(demand), broken=broken), choice)


@pytest.mark.parametrize(
    ("demand", "choice", "rates"),
    [
        # Flow 0 is held by its demand, flow 3 by its own link; the two others take what these leave.
        ([6.0, WIDE, WIDE, WIDE], [0, 0, 0, 0], [6, 21, 14, 9]),
        # Flows 0 and 1 cross link 2 in opposite directions and share it; flow 2 goes over the other band.
        ([WIDE, WIDE, WIDE, 0.0], [2, 1, 2, 0], [6, 6, 7, 0]),
    ],
)
def test_flows_share_links_as_the_twin_says(bench, demand, choice, rates) -> None:
    driver = BackhaulDriver(NETWORK, bench.plane)
    outcome = driver.apply(np.array(choice))
    assert outcome.ok
    assert outcome.done == {f"flows.{flow}": path for flow, path in enumerate(choice)}
    bench.offer(demand)
    assert fair(demand, np.array(choice)) == pytest.approx(rates)
    seen = agreed(bench, driver, rates)
    assert seen.broken == frozenset()
    load = np.zeros(len(NETWORK.links))
    for flow, path in enumerate(choice):
        load[NETWORK.arrays.links_of(NETWORK.arrays.flow_start[flow] + path)] += rates[flow]
    assert seen.load_mbps == pytest.approx(load, rel=0.1, abs=0.1)


def test_demand_that_changes_is_followed(bench) -> None:
    driver = BackhaulDriver(NETWORK, bench.plane)
    driver.apply(FIRST)
    for demand in ([3.0, 5.0, 0.0, WIDE], [WIDE, 2.0, WIDE, 0.0]):
        bench.offer(demand)
        agreed(bench, driver, fair(demand, FIRST))


def test_a_cut_link_is_noticed_replanned_and_carried_around(bench) -> None:
    driver, demand = BackhaulDriver(NETWORK, bench.plane), [6.0, WIDE, WIDE, WIDE]
    driver.apply(FIRST)
    bench.offer(demand)
    bench.settle(0.5)
    assert driver.observe().broken == frozenset()
    bench.plane.set_link(0, up=False)
    broken = driver.observe().broken
    assert broken == {0}
    plan = replan(Problem(NETWORK, np.array(demand), broken=broken), driver.running)[-1]
    assert driver.apply(plan.choice).ok
    assert driver.running.tolist() == plan.choice.tolist()
    assert (plan.choice[[0, 2]] != 0).all()
    seen = agreed(bench, driver, fair(demand, plan.choice, broken))
    assert seen.load_mbps[0] == pytest.approx(0.0, abs=0.01)
    bench.plane.set_link(0, up=True)  # the old choice holds again once it is applied again
    assert driver.observe().broken == frozenset()
    assert driver.apply(FIRST).ok
    agreed(bench, driver, fair(demand, FIRST))


def test_a_link_that_comes_back_carries_once_its_paths_are_put_again(bench) -> None:
    driver, demand = BackhaulDriver(NETWORK, bench.plane), [3.0, 0.0, 0.0, 3.0]
    driver.apply(FIRST)
    bench.offer(demand)
    agreed(bench, driver, demand)
    for up in (False, True):
        bench.plane.set_link(0, up=up)
    agreed(bench, driver, [0.0, 0.0, 0.0, 3.0])
    assert driver.apply(np.array([0, NO_PATH, NO_PATH, NO_PATH])).ok
    agreed(bench, driver, demand)


def test_a_path_over_a_broken_link_is_refused_and_the_old_one_carries_on(bench) -> None:
    driver, demand = BackhaulDriver(NETWORK, bench.plane), [3.0, 3.0, 3.0, 3.0]
    driver.apply(FIRST)
    bench.offer(demand)
    bench.settle(0.5)
    bench.plane.set_link(2, up=False)
    outcome = driver.apply(np.array([NO_PATH, 1, 1, 1]))
    assert outcome.done == {"flows.2": 1}
    assert outcome.refused.keys() == {"flows.1", "flows.3"}
    assert all("link 2" in reason for reason in outcome.refused.values())
    assert driver.running.tolist() == [0, 0, 1, 0]
    agreed(bench, driver, demand)


def test_a_flow_that_changes_its_path_goes_on_meanwhile(bench) -> None:
    driver, demand = BackhaulDriver(NETWORK, bench.plane), [5.0, 5.0, 5.0, 5.0]
    driver.apply(FIRST)
    bench.offer(demand)
    bench.settle(1.0)
    driver.observe()
    rates = []
    for turn in range(20):
        assert driver.apply(FIRST + (turn + 1) % 2).ok
        bench.settle(0.1)
        rates.append(driver.observe().rates_mbps)
    assert np.median(rates, axis=0) == pytest.approx(demand, rel=0.1)


@pytest.mark.parametrize("choice", [np.zeros(4), [0, 0, 0], [0, 0, 0, 3], [0, 0, 0, -2]])
def test_a_choice_that_no_network_has_is_bad_input(choice) -> None:
    driver = BackhaulDriver(NETWORK, simulated(NETWORK))
    with pytest.raises(InputError, match="choice"):
        driver.apply(np.array(choice))
    assert (driver.running == NO_PATH).all()


def test_a_plane_of_another_network_is_bad_input() -> None:
    other = NETWORK.model_copy(update={"nodes": 7})
    with pytest.raises(InputError, match="plane"):
        BackhaulDriver(NETWORK, simulated(other))


@pytest.mark.parametrize("path", [[0, 1], [4], [2, 2, 0], [99]])
def test_links_that_make_no_path_are_bad_input(path) -> None:
    with pytest.raises(InputError, match="path"):
        simulated(NETWORK).route(0, path)


def test_the_twin_refuses_a_path_that_it_knows_no_rate_of() -> None:
    plane = simulated(NETWORK)
    with pytest.raises(RouteError, match="no such path"):
        plane.route(2, [4, 2, 0])  # leads to a donor, but is none of the flow's
    plane.route(2, [3, 0])
