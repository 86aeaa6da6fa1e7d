"""Allocations made better by moving flows. Shapes as in `flows`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgewright.backhaul.kernels import flows as flows_module
from edgewright.backhaul.kernels import standing as standing_module
from edgewright.backhaul.kernels.flows import BETTER, Aim, Flows, crosses
from edgewright.backhaul.kernels.standing import Standing, evaluate_changed, nobody
from edgewright.core.compiled import compiled
from edgewright.core.contracts import BoolArray, FloatArray, IntArray

PATIENCE = 10  # times all moves of one flow without a gain, before a search starts anew

_kernel = compiled(__file__, flows_module, standing_module)
_plain = compiled(__file__, flows_module, standing_module, allocates=False)


class Walk(NamedTuple):
    """Where a search stands, so that it can go on as if it had not been stopped."""

    best: IntArray  # [A] paths
    base: IntArray  # [A] the best since it started anew
    now: IntArray  # [A]
    movable: IntArray  # flows with a choice, in the order in which they are looked at
    awake: BoolArray  # [A]
    values: FloatArray  # of now, base, best
    counts: IntArray  # evaluations, those at the last gain, place in the order, looks since the last move, descending


def walk_from(paths: IntArray, flows: Flows) -> Walk:
    movable = np.flatnonzero(flows.options > 1)
    return Walk(
        paths.copy(),
        paths.copy(),
        paths.copy(),
        movable,
        np.ones(paths.size, dtype=np.bool_),
        np.zeros(3),
        np.zeros(5, dtype=np.int64),
    )


@_kernel
def improve(walk: Walk, flows: Flows, aim: Aim, evaluations: int, until: int, seed: int) -> bool:
    """Search on until so many evaluations -> whether there is more to gain before `evaluations`.

    The first call draws from `seed`; between calls nothing else that is compiled may draw in this thread.
    """
    best, base, now, movable, awake, values, counts = walk
    offered, size = flows.demand.sum(), movable.size
    standing = nobody(flows)
    value = evaluate_changed(now, standing, flows, offered, aim)
    if counts[0] == 0:
        np.random.seed(seed)
        values[:] = value
        counts[0] = counts[1] = 1
    value, base_value, best_value = values
    used, gained, k, idle, descending = counts
    patience = PATIENCE * (flows.options - 1).sum()
    use_held = aim.efficiency == 1.0 and aim.alpha == 0.0  # else it may gain where a flow that has all it asks moves
    held, mark = np.empty(now.size, dtype=np.bool_), np.zeros(flows.capacity.size, dtype=np.bool_)
    if use_held:
        find_held(standing, flows, held)
    while used < min(evaluations, until) and size > 0 and best_value < 1.0 - BETTER:
        if not descending:
            np.random.shuffle(movable)
            k, idle, descending = 0, 0, 1
        while idle < size and used < min(evaluations, until):
            flow = movable[k]
            k = (k + 1) % size
            idle += 1
            if not awake[flow]:
                continue
            awake[flow] = False
            if use_held and not held[flow]:
                continue  # it has all it asks and is in nobody's way
            chosen, value, tried = best_path(now, flow, value, standing, flows, offered, aim)
            used += tried
            if chosen != now[flow]:
                move(now, flow, chosen, flows, awake, mark)
                if use_held:
                    evaluate_changed(now, standing, flows, offered, aim)
                    find_held(standing, flows, held)
                used += 1  # for all objectives, so that they search equally far
                idle = 0
        if idle < size and used < evaluations:
            break  # to go on here
        descending = 0
        if value > base_value + BETTER:
            base_value, gained = value, used
            base[:] = now
        elif value < base_value - BETTER:
            now[:] = base
        if base_value > best_value + BETTER:
            best_value = base_value
            best[:] = base
        if used - gained > patience:  # nothing more to find from here: start anew
            for flow in movable:
                now[flow] = flows.first[flow] + np.random.randint(flows.options[flow])
            awake[:] = True
            base_value, gained = -1.0, used
        else:
            awake[:] = False
            kick(now, movable, flows, awake, mark)
        value = evaluate_changed(now, standing, flows, offered, aim)
        if use_held:
            find_held(standing, flows, held)
        used += 1
    values[0], values[1], values[2] = value, base_value, best_value
    counts[0], counts[1], counts[2], counts[3], counts[4] = used, gained, k, idle, descending
    return used < evaluations and size > 0 and best_value < 1.0 - BETTER


@_plain
def best_path(
    now: IntArray, flow: int, value: float, standing: Standing, flows: Flows, offered: float, aim: Aim
) -> tuple[int, float, int]:
    """The path on which a flow lifts the objective most above `value`, else its own; the value then, evaluations.

    Off a broken path, to one that is whole, a flow goes even where that gains nothing.
    """
    old = chosen = now[flow]
    tried, leaves = 0, is_broken(old, flows)
    for path in range(flows.first[flow], flows.first[flow] + flows.options[flow]):
        if path != old:
            now[flow] = path
            reached = evaluate_changed(now, standing, flows, offered, aim)
            tried += 1
            freed = leaves and not is_broken(path, flows)
            if reached > value + (-BETTER if freed else BETTER):
                value, chosen = reached, path
                leaves = leaves and not freed
    now[flow] = old
    return chosen, value, tried


@_kernel
def leave_broken(paths: IntArray, flows: Flows, aim: Aim) -> int:
    """Put flows of broken paths on whole ones, in place, where nothing is lost by it -> evaluations"""
    standing, offered, used = nobody(flows), flows.demand.sum(), 1
    value = evaluate_changed(paths, standing, flows, offered, aim)
    for flow in range(paths.size):
        if is_broken(paths[flow], flows):
            paths[flow], value, tried = best_path(paths, flow, value, standing, flows, offered, aim)
            used += tried
    return used


@_plain
def is_broken(path: int, flows: Flows) -> bool:
    for k in range(flows.path_start[path], flows.path_start[path + 1]):
        if flows.capacity[flows.path_links[k]] <= 0.0:
            return True
    return False


@_plain
def find_held(standing: Standing, flows: Flows, held: BoolArray) -> None:
    """Which flows cross a full link, bool[A], after `evaluate_changed`: others have all they ask."""
    path, load, left, capacity = standing.path, standing.load, flows.left, flows.capacity
    start, links = flows.path_start, flows.path_links
    for i in range(path.size):
        held[i] = False
        for k in range(start[path[i]], start[path[i] + 1]):
            link = links[k]
            if load[link] > capacity[link] and left[link] <= 1e-9 * capacity[link]:
                held[i] = True
                break


@_plain
def move(now: IntArray, flow: int, path: int, flows: Flows, awake: BoolArray, mark: BoolArray) -> None:
    """Put a flow on a path; wakes it and all that cross a link of its old path or its new one."""
    start, links = flows.path_start, flows.path_links
    for p in (now[flow], path):
        mark[links[start[p] : start[p + 1]]] = True
    for other in range(now.size):
        for k in range(start[now[other]], start[now[other] + 1]):
            if mark[links[k]]:
                awake[other] = True
                break
    for p in (now[flow], path):
        mark[links[start[p] : start[p + 1]]] = False
    now[flow] = path
    awake[flow] = True


@_plain
def kick(now: IntArray, movable: IntArray, flows: Flows, awake: BoolArray, mark: BoolArray) -> None:
    """A random flow takes another path; one to three flows on a link of it take another, too."""
    start, links = flows.path_start, flows.path_links
    flow = movable[np.random.randint(movable.size)]
    move(now, flow, other_path(now, flow, flows), flows, awake, mark)
    for _ in range(np.random.randint(1, 4)):
        link = links[np.random.randint(start[now[flow]], start[now[flow] + 1])]
        met, chosen = 0, movable[np.random.randint(movable.size)]
        for other in movable:
            if other != flow and crosses(now[other], link, flows):
                met += 1
                if np.random.randint(met) == 0:
                    chosen = other
        move(now, chosen, other_path(now, chosen, flows), flows, awake, mark)


@_plain
def other_path(now: IntArray, flow: int, flows: Flows) -> int:
    first, count = flows.first[flow], flows.options[flow]
    return first + (now[flow] - first + np.random.randint(1, count)) % count  # type: ignore[no-any-return]


@_kernel
def replan_step(now: IntArray, running: IntArray, flows: Flows, aim: Aim, may_change: bool) -> tuple[bool, int]:
    """Make the single move that gains most, in place -> whether one gains, evaluations.

    `running` int[A]: paths in force, -1 for a flow that has none yet and may take any. Without `may_change` only flows
    that have left their running path may move.
    """
    standing, offered = nobody(flows), flows.demand.sum()
    value = evaluate_changed(now, standing, flows, offered, aim)
    used, mover, target = 1, -1, -1
    for flow in range(now.size):
        if now[flow] == running[flow] and not may_change:
            continue
        path, value, tried = best_path(now, flow, value, standing, flows, offered, aim)
        used += tried
        if path != now[flow]:
            mover, target = flow, path
    if mover >= 0:
        now[mover] = target
    return mover >= 0, used
