"""Edge sites: every answer keeps every limit, no bound is above the optimum, exact is never above the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.core.errors import InputError
from edgewright.core.infrastructure import Infrastructure
from edgewright.core.registry import load
from edgewright.topology import antennas, coverage
from edgewright.topology.build import sites_of, with_rings, with_sites
from edgewright.topology.evaluation import compare
from edgewright.topology.rings import rings
from edgewright.topology.siting import (
    NUMEROLOGIES,
    SERVED,
    Problem,
    Solution,
    Terms,
    check,
    numerology,
    problem,
    reach_m,
    rtt_s,
)
from edgewright.topology.solvers import SOLVERS, fast
from edgewright.topology.solvers.prices import bounds

DATA = Path(__file__).parents[3] / "shared/data/antennas"
solvers = {name: load(reference) for name, reference in SOLVERS.items()}


@st.composite
def problems(draw: st.DrawFn, cells: int = 40, candidates: int = 12) -> Problem:
    """Small ones of every sort: short of capacity, out of reach, costs, sites that exist, several sites a cell."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    many, wide = draw(st.integers(1, candidates)), draw(st.sampled_from([500.0, 3_000.0, 10_000.0]))
    ring = rng.integers(1, 3, many)
    existing = rng.random(many) < draw(st.sampled_from([0.0, 0.2]))
    m2_cost = rng.choice(draw(st.sampled_from([[1.0], [1.0, 3.0], [0.5, 2.25]])), many)
    return Problem(
        rng.uniform(0, wide, (draw(st.integers(1, cells)), 2)),
        rng.uniform(0, wide, (many, 2)),
        ring,
        np.where(
            ring == 1, draw(st.sampled_from([0.0, 300.0, 4_000.0])), draw(st.sampled_from([-5.0, 200.0, 2_500.0]))
        ),
        np.where(ring == 1, rng.integers(1, 9, many), rng.integers(3, 30, many)),
        np.where(existing, 0.0, np.where(ring == 1, 1.0, m2_cost)),
        existing,
        draw(st.integers(1, 3)),
    )


@settings(max_examples=60)
@given(problems())
def test_all_answers_are_right_and_exact_is_the_least(problem: Problem) -> None:
    found = {name: solve(problem) for name, solve in solvers.items()}
    assert [check(problem, solution) for solution in found.values()] == [[], [], []]
    exact = found["exact"]
    assert exact.gap <= 1e-6, exact.reason
    for solution in found.values():
        assert solution.missing == exact.missing
        assert solution.bound <= exact.value + 1e-6
        assert solution.value >= exact.value - 1e-6


@settings(max_examples=60)
@given(problems(cells=8, candidates=7))
def test_exact_is_what_enumeration_finds(problem: Problem) -> None:
    none = np.full((len(problem.cells), problem.redundancy), -1)
    most, least = -1, np.inf
    for size in range(len(problem.candidates) + 1):
        for chosen in combinations(range(len(problem.candidates)), size):
            open_ = np.isin(np.arange(len(problem.candidates)), chosen)
            if (problem.existing & ~open_).any():
                continue
            served, cost = _served(problem, open_), float(problem.cost[open_].sum())
            assert served == (coverage.fill(problem, open_, none) >= 0).sum()
            most, least = max((most, -least), (served, -cost))[0], -max((most, -least), (served, -cost))[1]
    exact = solvers["exact"](problem)
    assert ((exact.assigned >= 0).sum(), exact.value) == (most, pytest.approx(least))


def _served(problem: Problem, open_: np.ndarray) -> int:
    """A maximum flow by networkx."""
    import networkx as nx

    graph = nx.DiGraph()
    for i, place in enumerate(problem.cells):
        graph.add_edge("source", f"cell {i}", capacity=int(problem.redundancy))
        for j in np.flatnonzero(open_):
            if np.abs(place - problem.candidates[j]).sum() <= problem.reach_m[j]:
                graph.add_edge(f"cell {i}", f"site {j}", capacity=1)
    for j in np.flatnonzero(open_):
        graph.add_edge(f"site {j}", "sink", capacity=int(problem.capacity[j]))
    if "sink" not in graph:
        return 0
    return int(nx.maximum_flow_value(graph, "source", "sink"))


@settings(max_examples=30)
@given(problems())
def test_every_bound_on_the_way_holds(problem: Problem) -> None:
    exact = solvers["exact"](problem)
    short = int(problem.needed.sum()) - int((exact.assigned >= 0).sum())
    for step, (bound, _) in enumerate(bounds(problem, lambda: exact.value, short)):
        assert bound <= exact.value + 1e-6
        if step == 60:
            break


def test_prices_stay_in_bounds_where_capacity_is_short_by_as_much_as_it_is() -> None:
    """A subgradient of nothing but rounding sent them to 1e15."""
    cells = np.array([[0.0, 0.0]] * 9 + [[9e3, 0.0]] * 3)
    given = Problem(
        cells,
        np.array([[0.0, 0.0], [9e3, 0.0]]),
        np.array([1, 1]),
        np.full(2, 100.0),
        np.array([6, 8]),
        np.array([0.0, 1.0]),
        np.array([True, False]),
    )
    assert all(bound <= 1 + 1e-9 for bound, _ in bounds(given, lambda: 1.0, 3))


@pytest.mark.parametrize("scale", [1e-7, 1e9])
def test_costs_of_any_size(scale: float) -> None:
    """HiGHS takes a gap of 1e-6 for none."""
    rng = np.random.default_rng(5)
    ring = np.repeat([1, 2], [14, 4])
    cost = rng.uniform(0.1, 1, 18)
    given = Problem(
        rng.uniform(0, 3e3, (60, 2)),
        rng.uniform(0, 3e3, (18, 2)),
        ring,
        np.repeat([2.5e3, 1.2e3], [14, 4]),
        np.repeat([6, 20], [14, 4]),
        cost * scale,
        np.zeros(18, bool),
    )
    exact, same = solvers["exact"](given), solvers["exact"](replace(given, cost=cost))
    assert (exact.status, exact.reason) == ("optimal", "")
    assert exact.value == pytest.approx(scale * same.value)
    assert check(given, exact) == []


def test_sites_that_cost_nothing_come_first() -> None:
    rng = np.random.default_rng(5)
    ring = np.repeat([1, 2], [20, 4])
    given = Problem(
        rng.uniform(0, 3e3, (100, 2)),
        rng.uniform(0, 3e3, (24, 2)),
        ring,
        np.full(24, 9e3),
        np.repeat([6, 144], [20, 4]),
        np.where(ring == 1, 0.0, 1.0),
        np.zeros(24, bool),
    )
    assert solvers["fast"](given).value == solvers["exact"](given).value == 0.0


@pytest.mark.parametrize("name", solvers)
def test_the_same_again_and_the_input_untouched(name: str) -> None:
    rng = np.random.default_rng(7)
    cells, candidates = rng.uniform(0, 5e3, (300, 2)), rng.uniform(0, 5e3, (40, 2))
    ring = np.repeat([1, 2], [35, 5])
    given = Problem(
        cells, candidates, ring, np.repeat([3e3, 1e3], [35, 5]), np.repeat([6, 144], [35, 5]), np.ones(40), ring > 2
    )
    before = cells.copy(), candidates.copy()
    first, second = solvers[name](given), solvers[name](given, seed=5)
    assert np.array_equal(first.assigned, second.assigned)
    assert (first.value, first.bound) == (second.value, second.bound)
    assert np.array_equal(before[0], cells)
    assert np.array_equal(before[1], candidates)


def test_no_time_still_gives_an_answer_and_progress_may_end_it() -> None:
    rng = np.random.default_rng(3)
    ring = np.repeat([1, 2], [60, 10])
    given = Problem(
        rng.uniform(0, 9e3, (400, 2)),
        rng.uniform(0, 9e3, (70, 2)),
        ring,
        np.repeat([5e3, 1.5e3], [60, 10]),
        np.repeat([6, 144], [60, 10]),
        np.ones(70),
        ring > 2,
    )
    assert check(given, fast.fast(given, time_limit_s=0.0)) == []
    seen: list[tuple[float, float]] = []

    def once(value: float, bound: float) -> bool:
        seen.append((value, bound))
        return False

    fast.fast(given, on_progress=once)
    assert len(seen) <= 1


def test_reach_is_what_the_round_trip_leaves() -> None:
    """The slides' m_M: 12 and 2 km, 24 and 14 km, 12 and 2 km."""
    found = {name: [reach_m(ring, radio, 1e-3) for ring in (1, 2)] for name, radio in NUMEROLOGIES.items()}
    assert found == {
        "fdd-30khz-2s": [pytest.approx(12_000), pytest.approx(2_000)],
        "fdd-120khz-7s": [pytest.approx(24_000), pytest.approx(14_000)],
        "tdd-120khz-7s": [pytest.approx(12_000), pytest.approx(2_000)],
    }
    at_limit = rtt_s(np.array([12_000.0]), np.array([1]), NUMEROLOGIES["tdd-120khz-7s"])
    assert at_limit == pytest.approx(1e-3)


def _city() -> Infrastructure:
    from edgewright.topology.build import Cells
    from edgewright.topology.layers import Layer
    from edgewright.topology.places import Plane

    xy = np.random.default_rng(0).uniform(-4e3, 4e3, (500, 2))
    cells = Cells.of_layers([Layer("macro", "macro_cell", ("LTE",), xy)], Plane(2.1, 41.4))
    return with_rings(cells, rings(cells.xy))


def test_sites_become_servers_that_exist_the_next_time() -> None:
    city, terms = _city(), Terms(numerology("fdd-30khz-2s"))
    given, _, ids = problem(city, terms)
    solution = solvers["fast"](given)
    switches = [ids[j] for j in solution.sites]
    sited = with_sites(city, switches, {"m2": (900.0, 20.0, 100.0, 5.23)})
    assert sorted(sites_of(sited)) == sorted(switches)
    first = next(name for name in switches if name.startswith("m2"))
    server = sited.number[f"site-{first}"]
    assert sited.nodes["cpu"][server] == 900
    assert sited.nodes["lon"][server] == city.nodes["lon"][city.number[first]]
    again, _, _ = problem(sited, replace(terms, existing=frozenset(sites_of(sited))))
    kept = solvers["fast"](again)
    assert (kept.value, kept.uncovered) == (0.0, 0)
    assert kept.sites.tolist() == solution.sites.tolist()
    assert len(with_sites(sited, switches, {})) == len(sited)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda s: replace(s, assigned=s.assigned[:, :0]), "assigned"),
        (lambda s: replace(s, assigned=np.zeros_like(s.assigned)), "sites[0].served"),
        (lambda s: replace(s, sites=s.sites[1:]), "assigned to"),
        (lambda s: replace(s, value=s.value - 1, bound=0.0), "value"),
        (lambda s: replace(s, bound=s.value + 1), "bound"),
    ],
)
def test_the_check_sees_what_is_wrong(change: Callable[[Solution], Solution], field: str) -> None:
    given, _, _ = problem(_city(), Terms(numerology("tdd-120khz-7s")))
    assert any(violation.field.startswith(field) for violation in check(given, change(solvers["greedy"](given))))


def test_the_check_sees_a_cell_out_of_reach() -> None:
    given, _, _ = problem(_city(), Terms(numerology("fdd-120khz-7s")))
    solution = solvers["greedy"](given)
    nearer = replace(given, reach_m=given.reach_m / 10)
    assert any("distance_m" in violation.field for violation in check(nearer, solution))


TERMS = Terms(numerology("fdd-30khz-2s"))
ALONE = Infrastructure(("a",), np.array([0], np.int8), nodes={"lon": np.array([1.0]), "lat": np.array([2.0])})


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: numerology("6g"), "numerology: got '6g', allowed: one of fdd-30khz-2s"),
        (lambda: problem(_city(), replace(TERMS, budget_s=0.0)), "rtt: got 0.0"),
        (lambda: problem(_city(), replace(TERMS, redundancy=0)), "redundancy: got 0"),
        (lambda: problem(_city(), replace(TERMS, existing=frozenset({"m9"}))), "existing: got 'm9'"),
        (lambda: problem(ALONE, TERMS), "no m1 or m2"),
        (lambda: list(compare(_city(), ["fdd-30khz-2s"], ["best"], TERMS)), "solver: got 'best'"),
    ],
)
def test_bad_input_is_refused(act: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError) as error:
        act()
    assert said in str(error.value)


@pytest.mark.skipif(not DATA.is_dir(), reason="no antennas of real regions here")
@pytest.mark.parametrize("radio", NUMEROLOGIES)
@pytest.mark.parametrize("region", ["Cobo-Calleja", "Valle-Ayora-Cofrentes"])
def test_real_regions(region: str, radio: str) -> None:
    """Every cell within reach of a site that serves no more than 6 or 144, exact proven and never above."""
    cells = antennas.cells(antennas.read(DATA / f"{region}.csv"))
    found = list(compare(with_rings(cells, rings(cells.xy)), [radio], list(SOLVERS), Terms(numerology(radio))))
    values = {entry.solver: entry.solution.value for entry in found}
    assert all(entry.solution.uncovered == 0 for entry in found)
    assert values["exact"] <= min(values.values())
    assert found[list(SOLVERS).index("exact")].solution.status == "optimal"
    for entry in found:
        served = entry.solution.served(len(entry.problem.candidates))
        assert (served <= np.array([SERVED[1], SERVED[2]])[entry.problem.ring - 1]).all()


@pytest.mark.skipif(not DATA.is_dir(), reason="no antennas of real regions here")
def test_the_centre_of_madrid_within_a_twentieth_of_the_bound() -> None:
    cells = antennas.cells(antennas.read(DATA / "Madrid-center.csv"))
    (entry,) = compare(
        with_rings(cells, rings(cells.xy)), ["fdd-120khz-7s"], ["fast"], Terms(numerology("fdd-120khz-7s"))
    )
    assert entry.solution.uncovered == 0
    assert entry.solution.gap <= 0.05
