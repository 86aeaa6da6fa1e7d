"""Rates of an allocation whose flows change paths: only what a change reaches is filled anew. Shapes as in `flows`.

Flows act on each other only across links that are asked for more than they have. So a change reaches, from the links
that a flow has left or joined, all flows that such links connect; the rates of others stay what they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgewright.backhaul.kernels import flows as flows_module
from edgewright.backhaul.kernels.flows import Aim, Flows, rise, worth
from edgewright.core.compiled import compiled
from edgewright.core.contracts import FloatArray, IntArray

CLEAN, CHANGED, CHANGED_FULL = 0, 1, 2  # full: asked for more than it had, before

_kernel = compiled(__file__, flows_module)
_plain = compiled(__file__, flows_module, allocates=False)


class Standing(NamedTuple):
    """Who crosses each link. Each flow has slots, as many as its longest path has links; S in all."""

    path: IntArray  # [A], -1: none
    load: FloatArray  # [L] Mb/s asked
    crossing: IntArray  # [L]
    first: IntArray  # [L] slot of one who crosses it, or -1
    after: IntArray  # [S] slot of another, or -1
    ahead: IntArray  # [S] the one of which this is the next, or -1
    flow: IntArray  # [S] whose slot it is
    slot: IntArray  # [A] each flow's first
    changed: IntArray  # [L] links to look at, and
    many: IntArray  # [1] how many of them
    mark: IntArray  # [L]


@_kernel
def nobody(flows: Flows) -> Standing:
    links, count = flows.capacity.size, flows.demand.size
    slot, slots = np.zeros(count, dtype=np.int64), 0
    for i in range(count):
        slot[i], most = slots, 0
        for path in range(flows.first[i], flows.first[i] + flows.options[i]):
            most = max(most, flows.path_start[path + 1] - flows.path_start[path])
        slots += most
    flow = np.zeros(slots, dtype=np.int64)
    for i in range(count):
        flow[slot[i] :] = i
    return Standing(
        np.full(count, -1),
        np.zeros(links),
        np.zeros(links, dtype=np.int64),
        np.full(links, -1),
        np.zeros(slots, dtype=np.int64),
        np.zeros(slots, dtype=np.int64),
        flow,
        slot,
        np.zeros(links, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
        np.zeros(links, dtype=np.int64),
    )


@_plain
def put(i: int, new: int, standing: Standing, flows: Flows) -> None:
    """A flow's path from now on; `fill_changed` tells what it gets there."""
    path, load, crossing, first, after, ahead, _, slots, changed, many, mark = standing
    start, links, capacity = flows.path_start, flows.path_links, flows.capacity
    demand, old, count = flows.demand[i], path[i], many[0]
    slot = slots[i]
    if old >= 0:
        for k in range(start[old], start[old + 1]):
            link = links[k]
            count = _note(link, count, changed, mark, load, capacity)
            load[link] -= demand
            crossing[link] -= 1
            if after[slot] >= 0:
                ahead[after[slot]] = ahead[slot]
            if ahead[slot] >= 0:
                after[ahead[slot]] = after[slot]
            else:
                first[link] = after[slot]
            slot += 1
    slot = slots[i]
    for k in range(start[new], start[new + 1]):
        link = links[k]
        count = _note(link, count, changed, mark, load, capacity)
        load[link] += demand
        crossing[link] += 1
        after[slot], ahead[slot] = first[link], -1
        if first[link] >= 0:
            ahead[first[link]] = slot
        first[link] = slot
        slot += 1
    path[i], many[0], flows.rates[i] = new, count, -1.0


@_plain
def _note(link: int, count: int, changed: IntArray, mark: IntArray, load: FloatArray, capacity: FloatArray) -> int:
    """A link to look at, before it changes -> how many there are now."""
    if mark[link] == CLEAN:
        mark[link] = CHANGED_FULL if load[link] > capacity[link] else CHANGED
        changed[count] = link
        count += 1
    return count


@_plain
def fill_changed(standing: Standing, flows: Flows) -> None:
    """Set `flows.rates`, which are those of the last call, to what flows get now; all flows have a path."""
    path, load, crossing, first, after, _, flow, _, changed, _, mark = standing
    start, links, capacity, rates = flows.path_start, flows.path_links, flows.capacity, flows.rates
    left, own_crossing, touched = flows.left, flows.crossing, flows.touched
    many, k, used = standing.many[0], 0, 0
    while k < many:
        link = changed[k]
        k += 1
        if load[link] > capacity[link]:
            left[link], own_crossing[link] = capacity[link], crossing[link]
            touched[used] = link
            used += 1
        elif mark[link] == CHANGED:
            continue
        slot = first[link]
        while slot >= 0:
            i = flow[slot]
            slot = after[slot]
            if rates[i] >= 0.0:
                rates[i] = -1.0
                for j in range(start[path[i]], start[path[i] + 1]):
                    other = links[j]
                    if mark[other] == CLEAN and load[other] > capacity[other]:
                        mark[other] = CHANGED
                        changed[many] = other
                        many += 1
    for k in range(many):
        mark[changed[k]] = CLEAN
    standing.many[0] = 0
    rise(path, flows, used, first, after, flow)
    own_crossing[:] = 0


@_plain
def evaluate_changed(paths: IntArray, standing: Standing, flows: Flows, offered: float, aim: Aim) -> float:
    """`evaluate` on these paths, after which `standing` is theirs; only calls like this one may set the rates."""
    for i in range(paths.size):
        if paths[i] != standing.path[i]:
            put(i, paths[i], standing, flows)
    fill_changed(standing, flows)
    return worth(flows, offered, aim)  # type: ignore[no-any-return]
