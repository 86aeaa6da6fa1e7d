"""Emulated backhaul: TCP's shares against the twin's, time to carry again after a cut, cost of a look and of a path.

    python benchmarks/emulation.py [--repetitions N] [--seed N] [--out FILE]

Rates are of payload, received over 4 s after 1.5 s to settle. Links are looked at every 20 ms.
After a cut a flow carries again at the end of the first
100 ms in which it got half its new fair rate.
"""

from __future__ import annotations

import argparse
import json
import random
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.backhaul.driver import BackhaulDriver, layout
from edgewright.backhaul.model import Objective, Problem, read_network
from edgewright.backhaul.rates import max_min_rates
from edgewright.backhaul.replanning import replan
from edgewright.drivers.capabilities import probe_one
from edgewright.drivers.linux.network import CORE, SINK, EmulatedNetwork
from edgewright.drivers.linux.traffic import Traffic

NETWORK = read_network(Path(__file__).parents[1] / "examples" / "emulated_backhaul" / "network.json")
CHOICES = ((0, 0, 0, 0), (2, 1, 2, 0))  # for each matrix
POLL_S, WINDOW_S, GIVE_UP_S = 0.02, 0.1, 10.0


def sharing(driver: BackhaulDriver, traffic: Traffic, case: int) -> dict[str, Any]:
    demand, choice = np.array(NETWORK.matrices[case].demand_mbps), np.array(CHOICES[case])
    assert driver.apply(choice).ok
    traffic.offer(demand.tolist())
    time.sleep(1.5)
    driver.observe()
    time.sleep(4.0)
    rates, fair = driver.observe().rates_mbps, max_min_rates(Problem(NETWORK, demand), choice)
    active = demand > 0
    worst = 100 * float(np.abs(rates[active] / fair[active] - 1).max())
    print(
        f"sharing {case}: twin {fair.round(2).tolist()} measured {rates.round(2).tolist()} worst {worst:.2f} %",
        flush=True,
    )
    return {"case": case, "fair_mbps": fair.tolist(), "measured_mbps": rates.tolist(), "worst_percent": worst}


def cut(driver: BackhaulDriver, network: EmulatedNetwork, link: int, chance: random.Random) -> dict[str, Any]:
    """With the first matrix's traffic under way on the first choice."""
    demand = np.array(NETWORK.matrices[0].demand_mbps)
    cut_s = []

    def break_it() -> None:
        cut_s.append(time.monotonic())
        network.set_link(link, up=False)

    threading.Timer(chance.uniform(0.0, 0.1), break_it).start()
    while not (broken := driver.observe().broken):
        time.sleep(POLL_S)
    began = cut_s[0]
    # Efficiency alone may leave a flow where it is cut off, if others take what it loses.
    plan = replan(Problem(NETWORK, demand, Objective("weighted"), broken), driver.running)[-1]
    moved = np.flatnonzero(plan.choice != driver.running).tolist()
    assert driver.apply(plan.choice).ok
    applied_s = time.monotonic() - began
    again: dict[int, float] = {}
    looks = deque([network.counters()])
    while len(again) < len(moved) and time.monotonic() - began < GIVE_UP_S:
        time.sleep(POLL_S)
        looks.append(network.counters())
        while looks[-1].t_s - looks[1].t_s >= WINDOW_S:
            looks.popleft()
        seconds = looks[-1].t_s - looks[0].t_s
        for flow in moved:
            mbps = 8e-6 * (looks[-1].flow_bytes[flow] - looks[0].flow_bytes[flow]) / seconds
            if seconds >= WINDOW_S and mbps >= plan.rates_mbps[flow] / 2:
                again.setdefault(flow, looks[-1].t_s - began)
    network.set_link(link, up=True)
    told = ", ".join(f"flow {flow} {again.get(flow, np.inf):.3f} s" for flow in moved)
    print(f"cut of link {link}: new paths after {1e3 * applied_s:.1f} ms, carries again: {told}", flush=True)
    return {"link": link, "applied_s": applied_s, "again_s": again, "moved": moved}


def costs(driver: BackhaulDriver, network: EmulatedNetwork) -> dict[str, float]:
    """Medians, ms."""
    spent: dict[str, list[float]] = {"look": [], "choice": []}
    for turn in range(200):
        began = time.perf_counter()
        network.counters()
        spent["look"].append(time.perf_counter() - began)
        began = time.perf_counter()
        driver.apply(np.full(len(NETWORK.flows), turn % 2))
        spent["choice"].append(time.perf_counter() - began)
    found = {name: 1e3 * float(np.median(values)) for name, values in spent.items()}
    print("a look {look:.2f} ms, new paths of all flows {choice:.2f} ms".format(**found), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/emulation.json"))
    options = parser.parse_args()
    found = probe_one("network-emulation")
    if not found.available:
        print(f"not measured: {found.reason}")
        return
    warm = Problem(NETWORK, np.array(NETWORK.matrices[0].demand_mbps), broken=frozenset({0}))
    replan(warm, np.array(CHOICES[0]))  # compiles
    chance = random.Random(options.seed)
    rows: dict[str, list[Any]] = {"sharing": [], "cuts": [], "costs": []}
    for _ in range(options.repetitions):
        with EmulatedNetwork(layout(NETWORK)) as network:
            flows = [(network.namespace(flow.source), network.address(i)) for i, flow in enumerate(NETWORK.flows)]
            with Traffic(flows, (network.namespace(CORE), SINK)) as traffic:
                driver = BackhaulDriver(NETWORK, network)
                rows["sharing"] += [sharing(driver, traffic, case) for case in (1, 0)]
                for link in (0, 1, 3):
                    rows["cuts"].append(cut(driver, network, link, chance))
                    assert driver.apply(np.array(CHOICES[0])).ok
                    time.sleep(1.5)
                rows["costs"].append(costs(driver, network))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1))
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()
