"""Everything that is compiled, in one file: the cache of a compiled function does not see changes in another.

Rates are network-wide max-min fair with demands, exactly, by water filling (Bertsekas and Gallager, Data Networks,
6.5.2): all flows rise together; one stops where it has what it asks or where a link on its path is full.

Shapes: A flows with demand, L links, M links of all paths together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from edgewright.backhaul.model import LEAST_SHARE, Problem
from edgewright.core.contracts import BoolArray, FloatArray, IntArray

BETTER = 1e-12  # of the objective, before it counts as better


class Flows(NamedTuple):
    """A problem as compiled code sees it, and its workspace; belongs to one thread."""

    demand: FloatArray  # [A] Mb/s, > 0
    order: IntArray  # [A] by rising demand
    first: IntArray  # [A] each flow's first path
    options: IntArray  # [A] how many paths it has
    path_start: IntArray  # links of path p are path_links[path_start[p]] .. path_links[path_start[p + 1]]
    path_links: IntArray  # [M]
    capacity: FloatArray  # [L] Mb/s
    rates: FloatArray  # [A] Mb/s, what `fill` answers
    left: FloatArray  # [L]
    crossing: IntArray  # [L] zeros between two calls of `fill`
    touched: IntArray  # [L]
    waiting: IntArray  # [A]


class Aim(NamedTuple):
    """An objective as compiled code sees it."""

    efficiency: float  # its weight; Jain's index has the rest
    alpha: float


def aim_of(problem: Problem) -> Aim:
    return Aim(problem.objective.weights[0], problem.objective.exponent)


def flows_of(problem: Problem) -> Flows:
    arrays, active, capacity = problem.network.arrays, problem.active, problem.capacity_mbps
    demand, first = problem.demand_mbps[active], arrays.flow_start[active]
    return Flows(
        demand,
        np.argsort(demand, kind="stable"),
        first,
        arrays.flow_start[active + 1] - first,
        arrays.path_start,
        arrays.path_links,
        capacity,
        np.zeros(active.size),
        np.zeros(capacity.size),
        np.zeros(capacity.size, dtype=np.int64),
        np.zeros(capacity.size, dtype=np.int64),
        np.zeros(active.size, dtype=np.int64),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def fill(paths: IntArray, flows: Flows) -> None:
    """Set `flows.rates` to what flows get on these paths, int[A]."""
    demand, order, rates = flows.demand, flows.order, flows.rates
    start, links = flows.path_start, flows.path_links
    left, crossing, touched, waiting = flows.left, flows.crossing, flows.touched, flows.waiting
    count = paths.size
    used = 0
    for i in range(count):
        rates[i] = -1.0  # until it has its rate
        waiting[i] = i
        for k in range(start[paths[i]], start[paths[i] + 1]):
            link = links[k]
            if crossing[link] == 0:
                left[link] = flows.capacity[link]
                touched[used] = link
                used += 1
            crossing[link] += 1
    still, next_one = count, 0  # waiting[:still] wait, among some that have their rate by now
    while next_one < count and still > 0:
        level, full = np.inf, -1
        k = 0
        while k < used:
            link = touched[k]
            if crossing[link] == 0:  # all who cross it have their rate
                used -= 1
                touched[k] = touched[used]
                continue
            share = left[link] / crossing[link]
            if share < level:
                level, full = share, link
            k += 1
        level = max(level, 0.0)  # what rounding leaves of a full link may lie below
        satisfied = False
        while next_one < count:
            i = order[next_one]
            if rates[i] < 0.0:
                if demand[i] > level:
                    break
                rates[i] = demand[i]
                satisfied = True
                for k in range(start[paths[i]], start[paths[i] + 1]):
                    left[links[k]] -= demand[i]
                    crossing[links[k]] -= 1
            next_one += 1
        if satisfied:
            continue
        w = 0
        while w < still:
            i = waiting[w]
            for k in range(start[paths[i]], start[paths[i] + 1]):
                if rates[i] < 0.0 and links[k] == full:
                    rates[i] = level
                    for j in range(start[paths[i]], start[paths[i] + 1]):
                        left[links[j]] -= level
                        crossing[links[j]] -= 1
                    break
            if rates[i] >= 0.0:
                still -= 1
                waiting[w] = waiting[still]
            else:
                w += 1


@njit(cache=True, nogil=True, error_model="numpy")
def evaluate(paths: IntArray, flows: Flows, offered: float, aim: Aim) -> float:
    """`Objective.value` on these paths, 0..1; 1 where nobody asks."""
    fill(paths, flows)
    rates = flows.rates
    if rates.size == 0:
        return 1.0
    if aim.alpha > 0.0:
        mean, exponent = 0.0, 1.0 - aim.alpha
        for i in range(rates.size):
            share = max(rates[i] / flows.demand[i], LEAST_SHARE)
            mean += flows.demand[i] * (np.log(share) if exponent == 0.0 else share**exponent)
        mean /= offered
        return np.exp(mean) if exponent == 0.0 else mean ** (1.0 / exponent)  # type: ignore[no-any-return]
    total = squares = 0.0
    for rate in rates:
        total += rate
        squares += rate * rate
    jain = total * total / (rates.size * squares) if squares > 0.0 else 0.0
    return aim.efficiency * total / offered + (1.0 - aim.efficiency) * jain


@njit(cache=True, nogil=True)
def greedy_some(paths: IntArray, placed: int, flows: Flows, aim: Aim, most: int) -> tuple[int, int]:
    """Place flows by falling demand, after the first `placed` of them, in `paths` int[A], until `most` evaluations are
    used -> flows placed by now, evaluations
    """
    falling = flows.order[::-1]
    taken, demand = paths[falling], flows.demand[falling]
    evaluations, offered = 0, demand[:placed].sum()
    while placed < falling.size and evaluations < most:
        flow, k = falling[placed], placed
        offered += demand[k]
        part = Flows(
            demand[: k + 1],
            np.arange(k, -1, -1),
            flows.first,
            flows.options,
            flows.path_start,
            flows.path_links,
            flows.capacity,
            flows.rates[: k + 1],
            flows.left,
            flows.crossing,
            flows.touched,
            flows.waiting,
        )
        best, chosen = -1.0, flows.first[flow]
        for path in range(flows.first[flow], flows.first[flow] + flows.options[flow]):
            taken[k] = path
            value = evaluate(taken[: k + 1], part, offered, aim)
            evaluations += 1
            if value > best + BETTER:
                best, chosen = value, path
        taken[k] = paths[flow] = chosen
        placed += 1
    return placed, evaluations


@njit(cache=True, nogil=True)
def enumerate_some(
    now: IntArray, best: IntArray, best_value: float, flows: Flows, aim: Aim, most: int
) -> tuple[float, int, bool]:
    """From the combination `now` on, in place -> best value, combinations tried, whether these were the last."""
    offered = flows.demand.sum()
    tried = 0
    while tried < most:
        value = evaluate(now, flows, offered, aim)
        tried += 1
        if value > best_value:
            best_value = value
            best[:] = now
        digit = 0
        while digit < now.size:
            now[digit] += 1
            if now[digit] < flows.first[digit] + flows.options[digit]:
                break
            now[digit] = flows.first[digit]
            digit += 1
        if digit == now.size or best_value >= 1.0 - BETTER:
            return best_value, tried, True
    return best_value, tried, False


@njit(cache=True, nogil=True)
def improve(best: IntArray, flows: Flows, aim: Aim, evaluations: int, state: IntArray) -> int:
    """Improve `best` int[A] in place -> evaluations used, negative where there is nothing more to gain.

    `state` int[1]: the seed of this batch, replaced by the next one's.
    """
    np.random.seed(state[0])
    offered = flows.demand.sum()
    movable = np.flatnonzero(flows.options > 1)
    now = best.copy()
    value = best_value = evaluate(now, flows, offered, aim)
    used = 1
    held = np.empty(now.size, dtype=np.bool_)
    use_held = aim.efficiency == 1.0 and aim.alpha == 0.0  # else it may gain where a flow that has all it asks moves
    if use_held:
        find_held(now, flows, held)
    awake, mark = np.ones(now.size, dtype=np.bool_), np.zeros(flows.capacity.size, dtype=np.bool_)
    while used < evaluations and movable.size > 0 and best_value < 1.0 - BETTER:
        np.random.shuffle(movable)
        idle, k = 0, 0
        while idle < movable.size and used < evaluations:
            flow = movable[k]
            k = (k + 1) % movable.size
            idle += 1
            if not awake[flow]:
                continue
            awake[flow] = False
            if use_held and not held[flow]:
                continue  # it has all it asks and is in nobody's way
            chosen, value, tried = best_path(now, flow, value, flows, offered, aim)
            used += tried
            if chosen != now[flow]:
                move(now, flow, chosen, flows, awake, mark)
                if use_held:
                    fill(now, flows)
                    find_held(now, flows, held)
                used += 1  # for all objectives, so that they search equally far
                idle = 0
        if value > best_value + BETTER:
            best_value = value
            best[:] = now
        elif value < best_value - BETTER:
            now[:] = best
        awake[:] = False
        kick(now, movable, flows, awake, mark)
        value = evaluate(now, flows, offered, aim)
        if use_held:
            find_held(now, flows, held)
        used += 1
    state[0] = np.random.randint(2**31 - 1)
    return used if movable.size > 0 and best_value < 1.0 - BETTER else -used


@njit(cache=True, nogil=True)
def best_path(now: IntArray, flow: int, value: float, flows: Flows, offered: float, aim: Aim) -> tuple[int, float, int]:
    """The path on which a flow lifts the objective most above `value`, else its own; the value then, evaluations."""
    old = chosen = now[flow]
    tried = 0
    for path in range(flows.first[flow], flows.first[flow] + flows.options[flow]):
        if path != old:
            now[flow] = path
            reached = evaluate(now, flows, offered, aim)
            tried += 1
            if reached > value + BETTER:
                value, chosen = reached, path
    now[flow] = old
    return chosen, value, tried


@njit(cache=True, nogil=True)
def find_held(now: IntArray, flows: Flows, held: BoolArray) -> None:
    """Which flows cross a full link, bool[A], after `fill` of these paths: others have all they ask."""
    start, links = flows.path_start, flows.path_links
    for i in range(now.size):
        held[i] = False
        for k in range(start[now[i]], start[now[i] + 1]):
            if flows.left[links[k]] <= 1e-9 * flows.capacity[links[k]]:
                held[i] = True
                break


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def kick(now: IntArray, movable: IntArray, flows: Flows, awake: BoolArray, mark: BoolArray) -> None:
    """A random flow takes another path; one to three flows on a link of it take another, too."""
    start, links = flows.path_start, flows.path_links
    flow = movable[np.random.randint(movable.size)]
    move(now, flow, other_path(now, flow, flows), flows, awake, mark)
    for _ in range(np.random.randint(1, 4)):
        link = links[np.random.randint(start[now[flow]], start[now[flow] + 1])]
        met, chosen = 0, movable[np.random.randint(movable.size)]
        for other in movable:
            if other != flow and (links[start[now[other]] : start[now[other] + 1]] == link).any():
                met += 1
                if np.random.randint(met) == 0:
                    chosen = other
        move(now, chosen, other_path(now, chosen, flows), flows, awake, mark)


@njit(cache=True, nogil=True)
def other_path(now: IntArray, flow: int, flows: Flows) -> int:
    first, count = flows.first[flow], flows.options[flow]
    return first + (now[flow] - first + np.random.randint(1, count)) % count  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def replan_step(now: IntArray, running: IntArray, flows: Flows, aim: Aim, may_change: bool) -> tuple[bool, int]:
    """Make the single move that gains most, in place -> whether one gains, evaluations.

    `running` int[A]: paths in force, -1 for a flow that has none yet and may take any. Without `may_change` only flows
    that have left their running path may move.
    """
    offered = flows.demand.sum()
    value = evaluate(now, flows, offered, aim)
    used, mover, target = 1, -1, -1
    for flow in range(now.size):
        if now[flow] == running[flow] and not may_change:
            continue
        path, value, tried = best_path(now, flow, value, flows, offered, aim)
        used += tried
        if path != now[flow]:
            mover, target = flow, path
    if mover >= 0:
        now[mover] = target
    return mover >= 0, used
