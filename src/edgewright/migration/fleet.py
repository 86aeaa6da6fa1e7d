"""Many users and their services at once: every service adds to the load of its node, which takes only so many.

Each user drives along the scenario's road at a time of its own. A policy for one service is shared by all, each with
its own memory (parameter sharing); `joint` assigns all of them together at every step (`joint.py`). A move to a node
that is full is refused. Shapes: S services, N nodes, T steps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgewright.core.contracts import BoolArray, FloatArray, IntArray, Policy
from edgewright.core.errors import InputError
from edgewright.migration.drives import days_of, draw_drives
from edgewright.migration.joint import JointProblem, assign, load_worth
from edgewright.migration.loads import MOST
from edgewright.migration.model import Scenario
from edgewright.migration.observation import Observation
from edgewright.migration.policies import make_policy
from edgewright.migration.rewards import breach, load, part, penalty, worth

JOINT = "joint"
DAYS = 64
AHEAD = 2  # steps for which `joint` expects what it sees to hold; 1, 3, 4, 6, 10 and 20 did worse on other seeds


@dataclass(frozen=True)
class Fleet:
    """All that happens to the services, whatever is decided."""

    scenario: Scenario
    rtt_ms: FloatArray  # [T, S, N]
    shares: FloatArray  # [T, N, 2] of CPU and memory that others use
    each: tuple[float, float]  # shares that a service adds

    @property
    def capacity(self) -> IntArray:
        """Services that each node takes, [N]: as the scenario says, and no share reaches 1 at any time."""
        room = ((MOST - self.shares.max(0)) / self.each).min(-1)
        told = [np.inf if node.capacity is None else node.capacity for node in self.scenario.nodes]
        places: IntArray = np.minimum(np.floor(room + 1e-9), told).clip(0, self.rtt_ms.shape[1]).astype(np.int64)
        return places

    def loads(self, step: int, nodes: IntArray) -> FloatArray:
        """Eq. 2, [N], with the services where they are."""
        count = np.bincount(nodes, minlength=len(self.scenario.nodes))
        shares = np.minimum(self.shares[step] + count[:, None] * self.each, MOST)
        return load(shares[:, 0], shares[:, 1])  # type: ignore[no-any-return]


def draw_fleet(
    scenario: Scenario, folder: Path, services: int, *, steps: int, each: tuple[float, float], seed: int
) -> Fleet:
    """Users that turn round at the road's ends and drive on, on the first of DAYS days on which the nodes can take
    their services. Raises InputError where there is none.
    """
    if not all(0 < share < 1 for share in each):
        raise InputError("each", each, "shares of a node, over 0 and below 1")
    rng = np.random.default_rng(seed)
    rtt_ms, most = np.empty((steps + 1, services, len(scenario.nodes))), 0
    for day in days_of(scenario, folder, count=DAYS, seed=seed):
        first = int(rng.integers(len(day)))
        made = Fleet(scenario, rtt_ms, day[(first + np.arange(steps + 1)) % len(day)], each)
        most = max(most, places := int(made.capacity.sum()))
        if places >= services:
            break
    else:
        raise InputError("services", services, f"at most {most}: so many places have the nodes of {scenario.name}")
    drives = draw_drives(scenario, day[None], 2**62, seed=seed)
    for service in range(services):
        begin, at = int(rng.integers(scenario.most_steps)), 0
        while at <= steps:  # drive after drive; the first is under way
            rows = next(drives).rtt_ms[begin:]
            rtt_ms[at : at + len(rows), service] = rows[: steps + 1 - at]
            begin, at = 0, at + len(rows)
    return made


class Decider(Protocol):
    def decide(self, rtt_ms: FloatArray, loads: FloatArray, shares: FloatArray, nodes: IntArray) -> IntArray:
        """rtt_ms [S, N], loads [N], shares [N, 2] without the services, nodes [S] -> where each wants to be, [S]"""
        ...


class Shared:
    """One policy for all, a memory for each."""

    def __init__(self, policy: Policy[Observation, int], services: int) -> None:
        self._policy, self._memories = policy, [None] * services

    def decide(self, rtt_ms: FloatArray, loads: FloatArray, shares: FloatArray, nodes: IntArray) -> IntArray:
        wanted = nodes.copy()
        for service, memory in enumerate(self._memories):
            seen = Observation(nodes[service], rtt_ms[service], loads)
            wanted[service], self._memories[service], _ = self._policy.decide(seen, None, memory)
        return wanted


class Joint:
    """The assignment that is best if all stayed as it is seen for AHEAD steps, moves with their price."""

    def __init__(self, fleet: Fleet) -> None:
        self._terms = fleet.scenario.objective.terms(fleet.scenario.step_s)
        self._each, self._capacity = fleet.each, fleet.capacity

    def decide(self, rtt_ms: FloatArray, loads: FloatArray, shares: FloatArray, nodes: IntArray) -> IntArray:
        terms, services = self._terms, np.arange(len(nodes))
        own = part(rtt_ms, terms.rtt_min_ms, terms.rtt_max_ms) - penalty(np, rtt_ms, terms.rtt_max_ms, terms.cost)
        own = AHEAD * (own - np.where(rtt_ms > terms.rtt_max_ms, terms.breach_penalty, 0.0))
        stays, comes = worth(np, rtt_ms, np.broadcast_to(loads, rtt_ms.shape), terms)
        price = stays - comes
        price[services, nodes] = 0.0
        shared = AHEAD * load_worth(shares[:, 0], shares[:, 1], self._each, int(self._capacity.max()), terms)
        shared[np.arange(shared.shape[1]) >= self._capacity[:, None]] = -np.inf
        return assign(JointProblem(own - price, shared)).nodes


@dataclass(frozen=True)
class Outcome:
    """Means per service and step, but `refused`: moves in all that found the node full."""

    reward: float
    breaches: float
    migrations: float
    refused: int
    cpu_ms: float  # of a step's decisions for all services


def run(fleet: Fleet, policy: str) -> Outcome:
    """From the nearest nodes with room. Raises InputError for a policy that does not fit."""
    steps, services, _ = fleet.rtt_ms.shape
    terms = fleet.scenario.objective.terms(fleet.scenario.step_s)
    decider: Decider = Joint(fleet) if policy == JOINT else Shared(make_policy(policy, fleet.scenario), services)
    nodes, _ = admitted(np.full(services, -1), fleet.rtt_ms[0].argsort(1), fleet.capacity)
    reward = breaches = cpu_s = 0.0
    migrations = refused = 0
    every = np.arange(services)
    for step in range(steps - 1):
        began = time.process_time()
        wanted = decider.decide(fleet.rtt_ms[step], fleet.loads(step, nodes), fleet.shares[step], nodes)
        cpu_s += time.process_time() - began
        after, kept = admitted(nodes, np.asarray(wanted)[:, None], fleet.capacity)
        moved = after != nodes
        refused, migrations, nodes = refused + int(kept.sum()), migrations + int(moved.sum()), after
        rtt_ms = fleet.rtt_ms[step + 1]
        loads = np.broadcast_to(fleet.loads(step + 1, nodes), rtt_ms.shape)
        stays, comes = worth(np, rtt_ms, loads, terms)
        reward += float(np.where(moved, comes[every, nodes], stays[every, nodes]).sum())
        breaches += float(breach(rtt_ms, loads, terms)[every, nodes].sum())
    whole = services * (steps - 1)
    return Outcome(reward / whole, breaches / whole, migrations / whole, refused, 1e3 * cpu_s / (steps - 1))


def admitted(nodes: IntArray, wishes: IntArray, capacity: IntArray) -> tuple[IntArray, BoolArray]:
    """Move services, in their order, to the first of their wishes [S, W] that has room; who leaves makes room first.

    nodes [S], -1: nowhere yet -> nodes, and who found no room and stays, bool[S].
    """
    after, refused = nodes.copy(), np.zeros(len(nodes), dtype=bool)
    staying = wishes[:, 0] == nodes
    left = capacity - np.bincount(nodes[staying], minlength=len(capacity))
    waiting = np.flatnonzero(~staying)
    # Those that find no room stay, and take a place that another may have been given: so until all is settled.
    while True:
        room, changed = left - np.bincount(nodes[refused], minlength=len(capacity)), False
        for service in waiting:
            if refused[service]:
                continue
            chosen: Any = next((node for node in wishes[service] if room[node] > 0), -1)
            if chosen < 0 and nodes[service] >= 0:
                refused[service], changed = True, True
                after[service] = nodes[service]
                break
            after[service] = chosen
            room[chosen] -= 1
        if not changed:
            return after, refused
