"""The learners' twin of migration, in JAX: one user's service, one decision a step.

Everything that a drive meets is read from tables (distances from each metre of the road, days of load, a bank of
noise), so that a new episode costs a few draws and a step a few look-ups. Source: DRL-based Service Migration for MEC
Cloud-Native 5G and beyond Networks. Shapes: D days of S steps, N nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edgewright.core.contracts import Array, Discrete, TwinSpec
from edgewright.core.errors import InputError
from edgewright.migration.drives import METRE, days_of, observed, table_of
from edgewright.migration.mobility import place
from edgewright.migration.model import SHIPPED, Scenario, read_scenario
from edgewright.migration.observation import Observation, features
from edgewright.migration.rewards import breach, worth

NOISE = 1 << 16  # numbers in the bank; an episode starts anywhere in it


class MigrationParams(NamedTuple):
    """One drive."""

    speed_kmh: Array  # []
    behind_m: Array  # [] driven before the first step: from which end
    day: Array  # []
    first: Array  # [] step of the day
    noise: Array  # [] place in the bank
    start: Array  # [] node; -1: the nearest
    # Of the objective: traced, so that one compilation serves any.
    charge: Array  # []
    downtime_s: Array  # []
    breach_penalty: Array  # []


class MigrationState(NamedTuple):
    node: Array  # []
    step: Array  # []


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("distance_m", "days", "bank"),
    meta_fields=("spec", "scenario", "random_start", "ends_on_breach"),
)
@dataclass(frozen=True)
class MigrationTwin:
    """One agent; see the module."""

    spec: TwinSpec
    scenario: Scenario
    distance_m: Array  # [M, N]
    days: Array  # [D, S, N, 2]
    bank: Array = field(repr=False)  # [NOISE]
    random_start: bool = True  # else the nearest node
    ends_on_breach: bool = True

    def sample(self, key: Array) -> MigrationParams:
        keys = jax.random.split(key, 6)
        speed, objective = self.scenario.speed, self.scenario.objective
        days, steps, count, _ = self.days.shape
        start = jax.random.randint(keys[5], (), 0, count) if self.random_start else jnp.int32(-1)
        return MigrationParams(
            jax.random.uniform(keys[0], (), minval=speed.lowest_kmh, maxval=speed.highest_kmh),
            jax.random.bernoulli(keys[1]) * jnp.float32(self.scenario.length_m),
            jax.random.randint(keys[2], (), 0, days),
            jax.random.randint(keys[3], (), 0, steps),
            jax.random.randint(keys[4], (), 0, NOISE),
            start,
            *map(jnp.float32, (objective.charge, objective.downtime_s, objective.breach_penalty)),
        )

    def reset(self, key: Array, params: MigrationParams) -> tuple[MigrationState, Array]:
        rtt, load = self.at(jnp.int32(0), params)
        node = jnp.where(params.start < 0, rtt.argmin(), params.start).astype(jnp.int32)
        return MigrationState(node, jnp.int32(0)), self._features(node, rtt, load)

    def mask(self, state: MigrationState, params: MigrationParams) -> Array:
        return jnp.ones((1, self.spec.action.n), bool)  # type: ignore[union-attr]

    def step(
        self, key: Array, state: MigrationState, action: Array, params: MigrationParams
    ) -> tuple[MigrationState, Array, Array, Array, Array, Mapping[str, Array]]:
        """Action 0 waits, action i goes to node i - 1; the reward is of what is seen afterwards."""
        node = jnp.where(action[0] == 0, state.node, action[0] - 1).astype(jnp.int32)
        moved, now = node != state.node, state.step + 1
        rtt, load = self.at(now, params)
        terms = self.scenario.objective.terms(self.scenario.step_s)._replace(
            charge=params.charge, downtime_s=params.downtime_s, breach_penalty=params.breach_penalty
        )
        stays, comes = worth(jnp, rtt, load, terms)
        reward = jnp.where(moved, comes, stays)[node]
        missed = breach(rtt, load, terms)[node]
        way_m = params.speed_kmh / 3.6 * self.scenario.step_s * now
        info = {"node": node, "moved": moved, "breach": missed, "rtt_ms": rtt[node], "load": load[node]}
        return (
            MigrationState(node, now),
            self._features(node, rtt, load),
            reward[None],
            missed & self.ends_on_breach,
            way_m >= self.scenario.way_m,
            info,
        )

    def at(self, step: Array, params: MigrationParams) -> tuple[Array, Array]:
        """Round-trip times and loads of the drive at a step, float32[N] each"""
        scenario, (_, steps, count, _) = self.scenario, self.days.shape
        driven = jnp.minimum(step * (params.speed_kmh / 3.6 * scenario.step_s), scenario.way_m) + params.behind_m
        metre = jnp.rint(place(jnp, driven, scenario.length_m) / METRE).astype(jnp.int32)
        shares = jnp.asarray(self.days)[params.day, (params.first + step) % steps]
        noise = jnp.asarray(self.bank)[(params.noise + step * 3 * count + jnp.arange(3 * count)) % NOISE].reshape(
            count, 3
        )
        return observed(jnp, jnp.asarray(self.distance_m)[metre], params.speed_kmh, shares, noise, scenario)

    def _features(self, node: Array, rtt: Array, load: Array) -> Array:
        objective = self.scenario.objective
        return features(jnp, Observation(node, rtt, load), objective.rtt_max_ms, objective.load_max)[None]


def migration_twin(
    scenario: str | Path | Scenario = "highway",
    *,
    days: int = 64,
    seed: int = 0,
    random_start: bool = True,
    ends_on_breach: bool | None = None,
) -> MigrationTwin:
    """The twin of a scenario: a file, or the name of a shipped one. `days`: of load, drawn from the seed.

    ends_on_breach: None: as the scenario's objective says. Raises InputError.
    """
    folder = SHIPPED
    if not isinstance(scenario, Scenario):
        shipped = SHIPPED / f"{scenario}.yaml"
        path = shipped if shipped.exists() else Path(scenario)
        scenario, folder = read_scenario(path), path.parent
    if days < 1:
        raise InputError("days", days, "at least 1")
    count = len(scenario.nodes)
    spec = TwinSpec("migration", ("service",), 3 * count, Discrete(count + 1), scenario.most_steps)
    ends = scenario.objective.ends_on_breach if ends_on_breach is None else ends_on_breach
    f32 = partial(np.asarray, dtype=np.float32)
    bank = np.random.default_rng([seed, 1]).normal(size=NOISE)
    drawn = days_of(scenario, folder, count=days, seed=seed)
    distance = f32(table_of(scenario))
    return MigrationTwin(spec, scenario, distance, f32(drawn), f32(bank), random_start, ends)
