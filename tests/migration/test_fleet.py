"""Many services: nobody is where there is no room, loads count who is there, placing all together pays."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from edgewright.cli import app
from edgewright.core.errors import InputError
from edgewright.migration.fleet import Fleet, admitted, draw_fleet, run
from edgewright.migration.loads import MOST
from edgewright.migration.model import SHIPPED, read_scenario

HIGHWAY = read_scenario(SHIPPED / "highway.yaml")


def drawn(seed: int = 0, services: int = 12, steps: int = 60) -> Fleet:
    return draw_fleet(HIGHWAY, SHIPPED, services, steps=steps, each=(0.02, 0.01), seed=seed)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=9),
    st.lists(st.integers(3, 9), min_size=3, max_size=3),
)
def test_who_moves_has_room_and_who_has_none_stays(pairs: list[tuple[int, int]], capacity: list[int]) -> None:
    nodes, wishes = (np.array([pair[k] for pair in pairs], dtype=np.int64) for k in (0, 1))
    room = np.maximum(capacity, np.bincount(nodes, minlength=3))  # as it is, all fit
    after, refused = admitted(nodes, wishes[:, None], room)
    assert (np.bincount(after, minlength=3) <= room).all()
    assert (after[refused] == nodes[refused]).all()
    assert (after[~refused] == wishes[~refused]).all()


def test_a_swap_on_full_nodes_is_no_trouble() -> None:
    after, refused = admitted(np.array([0, 1]), np.array([[1], [0]]), np.array([1, 1]))
    assert after.tolist() == [1, 0]
    assert not refused.any()


def test_loads_count_the_services() -> None:
    fleet = drawn()
    nodes = np.array([0] * 5 + [2] * 7)
    cpu, memory = (fleet.shares[3, 0] + np.array([0.1, 0.05])).clip(max=MOST)
    assert fleet.loads(3, nodes)[0] == pytest.approx(1 / ((1 - cpu) * (1 - memory)))


def test_users_are_on_their_way_and_turn_round() -> None:
    rtt = drawn(services=20, steps=400).rtt_ms
    assert np.isfinite(rtt).all()
    assert len(np.unique(rtt[0].argmin(1))) > 1  # not all at one end
    nearest = rtt.argmin(2)
    assert all(len(np.unique(nearest[:, service])) == 3 for service in range(20))


def test_placing_all_together_pays_and_the_same_seed_says_the_same() -> None:
    fleets = [drawn(seed) for seed in range(4)]
    together = [run(fleet, "joint") for fleet in fleets]
    alone = [run(fleet, "hysteresis") for fleet in fleets]
    assert np.mean([one.reward for one in together]) > np.mean([one.reward for one in alone])
    assert all(one.refused == 0 for one in together)
    again = run(drawn(0), "joint")
    assert (again.reward, again.migrations) == (together[0].reward, together[0].migrations)


def test_more_than_the_nodes_take_is_refused() -> None:
    with pytest.raises(InputError, match="services: got 500, allowed: at most"):
        draw_fleet(HIGHWAY, SHIPPED, 500, steps=10, each=(0.1, 0.1), seed=0)
    with pytest.raises(InputError, match="each"):
        draw_fleet(HIGHWAY, SHIPPED, 5, steps=10, each=(0.0, 0.1), seed=0)


def test_the_command_compares() -> None:
    words = ["--services", "8", "--steps", "30", "--seeds", "2", "--policies", "nearest,joint", "--json"]
    done = CliRunner().invoke(app, ["migration", "fleet", *words])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.output)
    assert [row["policy"] for row in rows] == ["nearest", "joint"]
    assert all(row["reward_low"] <= row["reward"] <= row["reward_high"] for row in rows)
