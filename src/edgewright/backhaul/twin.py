"""The learners' twin of the backhaul, in JAX: one action puts one flow on one of its paths.

Rates are network-wide max-min fair, as in `compiled.py` (golden test: equal to 1e-4). An episode is one traffic matrix;
it starts with every flow on its first path and is cut after `horizon` steps.

Shapes: F flows, K paths of a flow (padded), M links of a path (padded), L links, N networks.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from edgewright.backhaul.generate import Recipe, generate
from edgewright.backhaul.model import Network, Objective
from edgewright.backhaul.observation import (
    Allocation,
    Features,
    Options,
    Task,
    flow_and_path,
    mask,
    observation_size,
    observe,
    options_of,
    size_of,
)
from edgewright.core.contracts import Array, Discrete, TwinSpec
from edgewright.core.errors import InputError

GAIN_SCALE = 10.0  # rewards of order one: a good move gains some hundredths of the objective


class BackhaulParams(NamedTuple):
    """One traffic matrix on one network, traced."""

    options: Options
    demand_mbps: Array  # [F]
    weights: Array  # [2] of efficiency and of Jain's index in the objective


class BackhaulState(NamedTuple):
    now: Allocation
    lowest: Array  # [2] efficiency and Jain's index, of this episode
    highest: Array  # [2]
    step: Array  # []


@dataclass(frozen=True)
class Load:
    """Random traffic and failures of the training scenarios."""

    active: float = 0.4  # probability that a flow asks for anything
    demand_mbps: tuple[int, int] = (500, 750)
    broken: int = 0  # up to so many links, anywhere

    def __post_init__(self) -> None:
        low, high = self.demand_mbps
        if not 0 < self.active <= 1:
            raise InputError("active", self.active, "above 0, at most 1")
        if not 0 < low <= high:
            raise InputError("demand_mbps", self.demand_mbps, "0 < lowest <= highest")
        if self.broken < 0:
            raise InputError("broken", self.broken, ">= 0")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("networks", "options", "weights", "active", "demand_mbps", "broken"),
    meta_fields=("spec", "features", "reward"),
)
@dataclass(frozen=True)
class BackhaulTwin:
    """One agent; see the module. A pytree: one compilation serves all networks, objectives and loads of a size."""

    spec: TwinSpec
    networks: Array  # uint32[N] a checksum of each: a checkpoint of others is not resumed
    options: Options  # [N, ...]
    weights: Array  # [2] as in BackhaulParams
    active: float  # these three as in Load
    demand_mbps: tuple[int, int]
    broken: int
    features: Features
    reward: Task

    def sample(self, key: Array) -> BackhaulParams:
        which, rest = jax.random.split(key)
        active, demand, count, order = jax.random.split(rest, 4)
        network = jax.random.randint(which, (), 0, len(self.networks))
        options = jax.tree.map(lambda x: jnp.asarray(x)[network], self.options)
        flows, intact = options.exists.any(1), options.capacity_mbps
        low, high = self.demand_mbps
        asked = jax.random.randint(demand, flows.shape, low, high + 1).astype(jnp.float32)
        on = flows & jax.random.bernoulli(active, self.active, flows.shape)
        # Padding is infinite, and never broken.
        lottery = jnp.where(jnp.isfinite(intact), jax.random.uniform(order, intact.shape), 2.0)
        broken = lottery.argsort().argsort() < jax.random.randint(count, (), 0, self.broken + 1)
        options = options._replace(capacity_mbps=jnp.where(broken, 0.0, intact))
        return BackhaulParams(options, jnp.where(on, asked, 0.0), jnp.asarray(self.weights))

    def reset(self, key: Array, params: BackhaulParams) -> tuple[BackhaulState, Array]:
        now, measured = self._allocate(jnp.zeros(params.demand_mbps.shape, jnp.int32), jnp.float32(-1.0), params)
        return BackhaulState(now, measured, measured, jnp.int32(0)), self._observe(now, params)

    def mask(self, state: BackhaulState, params: BackhaulParams) -> Array:
        """Where no action does anything, all are allowed."""
        allowed = mask(jnp, state.now.choice, params.demand_mbps, params.options)
        return (allowed | ~allowed.any())[None]

    def step(
        self, key: Array, state: BackhaulState, action: Array, params: BackhaulParams
    ) -> tuple[BackhaulState, Array, Array, Array, Array, Mapping[str, Array]]:
        """An action that the mask forbids changes nothing."""
        before, flows = state.now, params.demand_mbps.size
        flow, path = flow_and_path(action[0], flows)
        allowed = mask(jnp, before.choice, params.demand_mbps, params.options)[action[0]]
        choice = jnp.where((jnp.arange(flows) == flow) & allowed, path, before.choice)
        now, measured = self._allocate(choice, before.best, params)
        after = BackhaulState(
            now, jnp.minimum(state.lowest, measured), jnp.maximum(state.highest, measured), state.step + 1
        )
        if self.reward == "reference":
            reward = reference_reward(measured, after.lowest, after.highest, params.weights)
        else:
            reward = GAIN_SCALE * (now.value - before.value)
        info = {"efficiency": measured[0], "jain": measured[1], "value": now.value, "best": now.best}
        return (
            after,
            self._observe(now, params),
            reward[None],
            jnp.bool_(False),
            after.step >= self.spec.horizon,
            info,
        )

    def _allocate(self, choice: Array, best: Array, params: BackhaulParams) -> tuple[Allocation, Array]:
        """-> allocation, float32[2]: efficiency and Jain's index"""
        demand, options = params.demand_mbps, params.options
        links = options.path_links[jnp.arange(choice.size), choice]
        rates = max_min_rates(links, options.capacity_mbps, demand)
        # Of rates relative to the largest: squares of small ones vanish.
        relative = rates / jnp.maximum(rates.max(), 1e-30)
        jain = relative.sum() ** 2 / jnp.maximum((demand > 0).sum() * (relative**2).sum(), 1e-30)
        asked = demand.sum()
        measured = jnp.where(asked > 0, jnp.stack([rates.sum() / jnp.maximum(asked, 1e-30), jain]), 1.0)
        value = (params.weights * measured).sum()
        unused = jnp.zeros(options.exists.shape)
        left, fair = room(links, rates, demand, options) if self.features == "paths" else (unused, unused)
        return Allocation(choice.astype(jnp.int32), rates, value, jnp.maximum(best, value), left, fair), measured

    def _observe(self, now: Allocation, params: BackhaulParams) -> Array:
        return observe(jnp, now, params.demand_mbps, params.options, self.features)[None]


def reference_reward(measured: Array, lowest: Array, highest: Array, weights: Array) -> Array:
    """D4.2, eqs. 4 and 5, -2..2: each criterion's place between its extremes so far, these with the new one in them.

    It is 2 wherever the best so far is met, however poor that is: a policy earns most by one move up and no other, and
    a low start pays as well as a good end. Where the extremes are one (0/0 in the document) a criterion counts nothing.
    """
    span = highest - lowest
    place = jnp.where(span > 0, (2 * measured - lowest - highest) / jnp.where(span > 0, span, 1.0), 0.0)
    return 2 * (weights * place).sum()


def max_min_rates(links: Array, capacity_mbps: Array, demand_mbps: Array) -> Array:
    """Rates float32[F] of flows on the links int[F, M] of their paths.

    Water filling with all local bottlenecks at once: a flow stops where it has what it asks, or on a link whose equal
    share is the lowest on the paths of all who still wait there. Shares of links only rise as others stop, so both are
    final. A few rounds instead of one per flow.
    """
    hops, count = links.shape[1], capacity_mbps.size
    flat = links.ravel()

    def more(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rates, waits = carry
        of_flow = jnp.stack([jnp.where(waits, 0.0, rates), waits.astype(jnp.float32)], -1)
        on_link = jnp.zeros((count, 2)).at[flat].add(jnp.repeat(of_flow, hops, axis=0))
        left, waiting = jnp.maximum(capacity_mbps - on_link[:, 0], 0.0), on_link[:, 1]
        share = jnp.where(waiting > 0, left / jnp.maximum(waiting, 1.0), jnp.inf)
        level = jnp.minimum(share[links].min(-1), demand_mbps)
        lowest = jnp.full(count, jnp.inf).at[flat].min(jnp.repeat(jnp.where(waits, level, jnp.inf), hops))
        bottleneck = (waiting > 0) & (lowest >= share)
        stops = waits & ((demand_mbps <= level) | bottleneck[links].any(-1))
        return jnp.where(stops, level, rates), waits & ~stops

    start = jnp.zeros(demand_mbps.shape), demand_mbps > 0
    rates, _ = jax.lax.while_loop(lambda carry: carry[1].any(), more, start)
    return rates


def room(links: Array, rates_mbps: Array, demand_mbps: Array, options: Options) -> tuple[Array, Array]:
    """`left_mbps` and `fair_mbps` of an Allocation, for flows on the links int[F, M] of their paths."""
    capacity, crossed = options.capacity_mbps, options.path_links
    asks = demand_mbps > 0
    of_flow = jnp.stack([rates_mbps, asks.astype(jnp.float32)], -1)
    on_link = jnp.zeros((capacity.size, 2)).at[links].add(of_flow[:, None])
    own = (crossed[..., None] == links[:, None, None, :]).any(-1) & asks[:, None, None]
    left = jnp.maximum(capacity - on_link[:, 0], 0.0)[crossed] + own * rates_mbps[:, None, None]
    fair = capacity[crossed] / (on_link[:, 1][crossed] - own + 1.0)
    there = options.exists & asks[:, None]
    return jnp.where(there, left.min(-1), 0.0), jnp.where(there, fair.min(-1), 0.0)


def backhaul_twin(
    networks: Sequence[Network] | None = None,
    *,
    nodes: int = 20,
    paths: int = 3,
    seed: int = 0,
    objective: Objective = Objective(),
    features: Features = "paths",
    reward: Task = "gain",
    horizon: int = 100,
    load: Load = Load(),
) -> BackhaulTwin:
    """The twin of given networks, one of which is drawn for each episode; without any, of one drawn from `seed`.

    `features="reference", reward="reference", horizon=300` is the published task.
    """
    if networks is None:
        networks = [generate(Recipe(nodes=nodes, paths=paths), seed=seed)]
    if not networks:
        raise InputError("networks", 0, "at least one")
    if objective.exponent > 0:
        raise InputError("objective", objective.kind, "efficiency, jain or weighted for learners")
    if horizon < 1:
        raise InputError("horizon", horizon, "a whole number >= 1")
    if features not in get_args(Features):
        raise InputError("features", features, "reference or paths")
    if reward not in get_args(Task):
        raise InputError("reward", reward, "reference or gain")
    flows, options, hops, links = size_of(networks)
    size = (flows, options, _rounded(hops, 5), _rounded(links, 80))  # networks that differ little share a compilation
    spec = TwinSpec(
        name="backhaul",
        agents=("planner",),
        observation_size=observation_size(features, flows, options),
        action=Discrete(flows * options),
        horizon=horizon,
    )
    stacked = Options(*map(np.stack, zip(*(options_of(network, size) for network in networks), strict=True)))
    sums = np.array([zlib.crc32(one.model_dump_json(exclude={"matrices"}).encode()) for one in networks], np.uint32)
    weights = np.asarray(objective.weights, dtype=np.float32)
    return BackhaulTwin(spec, sums, stacked, weights, load.active, load.demand_mbps, load.broken, features, reward)


def _rounded(count: int, to: int) -> int:
    return -(-count // to) * to
