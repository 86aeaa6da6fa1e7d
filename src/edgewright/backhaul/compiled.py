"""Everything that is compiled, in one file: the cache of a compiled function does not see changes in another.

Rates are network-wide max-min fair with demands, exactly, by water filling (Bertsekas and Gallager, Data Networks,
6.5.2): all flows rise together; one stops where it has what it asks or where a link on its path is full.

Shapes: A flows with demand, L links, M links of all paths together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from edgewright.backhaul.model import LEAST_SHARE, Problem
from edgewright.core.contracts import BoolArray, FloatArray, IntArray

BETTER = 1e-12  # of the objective, before it counts as better
PATIENCE = 10  # times all moves of one flow without a gain, before a search starts anew


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
    least_share: float


def aim_of(problem: Problem) -> Aim:
    return Aim(problem.objective.weights[0], problem.objective.exponent, LEAST_SHARE)


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
        geometric = exponent == 0.0
        for i in range(rates.size):
            share = max(rates[i] / flows.demand[i], aim.least_share)
            mean += flows.demand[i] * (np.log(share) if geometric else share**exponent)
        mean /= offered
        return np.exp(mean) if geometric else mean ** (1.0 / exponent)  # type: ignore[no-any-return]
    total = squares = 0.0
    for rate in rates:
        total += rate
        squares += rate * rate
    jain = total * total / (rates.size * squares) if squares > 0.0 else 0.0
    return aim.efficiency * total / offered + (1.0 - aim.efficiency) * jain


@njit(cache=True, nogil=True)
def room(paths: IntArray, flows: Flows, active: IntArray, left: Any, fair: Any) -> None:
    """After `fill`: set rows `active` of left and fair, float32[F, K], to what a learned policy sees of each path.

    What is left on it with its flow away, and an equal part of its narrowest link with its flow there, Mb/s.
    """
    start, links = flows.path_start, flows.path_links
    unused, crossing = flows.left, flows.crossing
    unused[:] = flows.capacity
    for i in range(paths.size):
        for k in range(start[paths[i]], start[paths[i] + 1]):
            unused[links[k]] -= flows.rates[i]
            crossing[links[k]] += 1
    for i in range(paths.size):
        own = links[start[paths[i]] : start[paths[i] + 1]]
        for option in range(flows.options[i]):
            path = flows.first[i] + option
            least = part = np.inf
            for k in range(start[path], start[path + 1]):
                mine = (own == links[k]).any()
                free = max(unused[links[k]], 0.0) + (flows.rates[i] if mine else 0.0)
                least = min(least, free)
                part = min(part, flows.capacity[links[k]] / (crossing[links[k]] + (0 if mine else 1)))
            left[active[i], option], fair[active[i], option] = least, part
    crossing[:] = 0


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


@njit(cache=True, nogil=True)
def improve(walk: Walk, flows: Flows, aim: Aim, evaluations: int, until: int, seed: int) -> bool:
    """Search on until so many evaluations -> whether there is more to gain before `evaluations`.

    The first call draws from `seed`; between calls nothing else that is compiled may draw in this thread.
    """
    best, base, now, movable, awake, values, counts = walk
    offered, size = flows.demand.sum(), movable.size
    if counts[0] == 0:
        np.random.seed(seed)
        values[:] = evaluate(now, flows, offered, aim)
        counts[0] = counts[1] = 1
    value, base_value, best_value = values
    used, gained, k, idle, descending = counts
    patience = PATIENCE * (flows.options - 1).sum()
    use_held = aim.efficiency == 1.0 and aim.alpha == 0.0  # else it may gain where a flow that has all it asks moves
    held, mark = np.empty(now.size, dtype=np.bool_), np.zeros(flows.capacity.size, dtype=np.bool_)
    if use_held:
        fill(now, flows)
        find_held(now, flows, held)
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
            chosen, value, tried = best_path(now, flow, value, flows, offered, aim)
            used += tried
            if chosen != now[flow]:
                move(now, flow, chosen, flows, awake, mark)
                if use_held:
                    fill(now, flows)
                    find_held(now, flows, held)
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
        value = evaluate(now, flows, offered, aim)
        if use_held:
            find_held(now, flows, held)
        used += 1
    values[0], values[1], values[2] = value, base_value, best_value
    counts[0], counts[1], counts[2], counts[3], counts[4] = used, gained, k, idle, descending
    return used < evaluations and size > 0 and best_value < 1.0 - BETTER


@njit(cache=True, nogil=True)
def best_path(now: IntArray, flow: int, value: float, flows: Flows, offered: float, aim: Aim) -> tuple[int, float, int]:
    """The path on which a flow lifts the objective most above `value`, else its own; the value then, evaluations.

    Off a broken path, to one that is whole, a flow goes even where that gains nothing.
    """
    old = chosen = now[flow]
    tried, leaves = 0, is_broken(old, flows)
    for path in range(flows.first[flow], flows.first[flow] + flows.options[flow]):
        if path != old:
            now[flow] = path
            reached = evaluate(now, flows, offered, aim)
            tried += 1
            freed = leaves and not is_broken(path, flows)
            if reached > value + (-BETTER if freed else BETTER):
                value, chosen = reached, path
                leaves = leaves and not freed
    now[flow] = old
    return chosen, value, tried


@njit(cache=True, nogil=True)
def leave_broken(paths: IntArray, flows: Flows, aim: Aim) -> int:
    """Put flows of broken paths on whole ones, in place, where nothing is lost by it -> evaluations"""
    offered, used = flows.demand.sum(), 1
    value = evaluate(paths, flows, offered, aim)
    for flow in range(paths.size):
        if is_broken(paths[flow], flows):
            paths[flow], value, tried = best_path(paths, flow, value, flows, offered, aim)
            used += tried
    return used


@njit(cache=True, nogil=True)
def is_broken(path: int, flows: Flows) -> bool:
    for k in range(flows.path_start[path], flows.path_start[path + 1]):
        if flows.capacity[flows.path_links[k]] <= 0.0:
            return True
    return False


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
