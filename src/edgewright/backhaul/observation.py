"""What a learned policy sees and may do, over `xp`; the solver has it compiled (`kernels/policy.py`), tested equal.

Shapes: F flows, K paths of a flow (padded), M links of a path (padded), L links, O features.
Source of the reference features: NANCY D4.2, 4.2.1 (its Fig. 16, line 20).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from edgewright.backhaul.model import Network
from edgewright.core.contracts import Array

Features = Literal["reference", "paths"]
Task = Literal["reference", "gain"]  # the published one, or rewards for what a move gains


class Options(NamedTuple):
    """The candidate paths of a network as arrays of a given size; the last link is none: padding, never full."""

    path_links: Array  # int32[F, K, M]
    exists: Array  # bool[F, K]
    capacity_mbps: Array  # float32[L + 1], 0 where broken
    scale_mbps: Array  # [] the largest capacity of the whole network


class Allocation(NamedTuple):
    """Where an episode stands."""

    choice: Array  # int32[F], path of each flow
    rates_mbps: Array  # float32[F]
    value: Array  # [] the objective, 0..1
    best: Array  # [] the highest of this episode
    # On each path, 0 where there is none or no demand; unused by the reference features.
    left_mbps: Array  # float32[F, K], what others and this flow itself would leave to it
    fair_mbps: Array  # float32[F, K], an equal part of the narrowest link, with this flow on it


def size_of(networks: Sequence[Network]) -> tuple[int, int, int, int]:
    """The smallest F, K, M, L that hold all of them."""
    arrays = [network.arrays for network in networks]
    return (
        max(one.flow_start.size - 1 for one in arrays),
        max(int(np.diff(one.flow_start).max()) for one in arrays),
        max(int(np.diff(one.path_start).max()) for one in arrays),
        max(one.capacity_mbps.size for one in arrays),
    )


def options_of(network: Network, size: tuple[int, int, int, int] | None = None) -> Options:
    flows, paths, hops, links = size or size_of([network])
    arrays = network.arrays
    path_links = np.full((flows, paths, hops), links, dtype=np.int32)
    exists = np.zeros((flows, paths), dtype=np.bool_)
    for flow, first in enumerate(arrays.flow_start[:-1]):
        for path in range(first, arrays.flow_start[flow + 1]):
            crossed = arrays.links_of(path)
            path_links[flow, path - first, : crossed.size] = crossed
            exists[flow, path - first] = True
    capacity = np.full(links + 1, np.inf, dtype=np.float32)
    capacity[: arrays.capacity_mbps.size] = arrays.capacity_mbps
    return Options(path_links, exists, capacity, np.float32(arrays.capacity_mbps.max()))


def observation_size(features: Features, flows: int, paths: int) -> int:
    return 3 * flows if features == "reference" else flows * (2 + 3 * paths) + 2


def observe(xp: Any, now: Allocation, demand_mbps: Array, options: Options, features: Features) -> Array:
    """float32[O], every feature of order one.

    `reference`: demand, rate and number of the path, per flow. A number says little of a path, and nothing says which
    links are broken or how full a path is. `paths` therefore has, per flow, demand and served share, and per path
    whether it is taken, and the shares of the demand that fit into what is left on it and into an equal part of its
    links; then the objective now and its best so far.
    """
    scale, paths = options.scale_mbps, options.exists.shape[1]
    if features == "reference":
        columns = [demand_mbps / scale, now.rates_mbps / scale, now.choice / paths]
        return xp.concatenate(columns).astype(xp.float32)
    asks = xp.maximum(demand_mbps, 1e-3)
    taken = (now.choice[:, None] == xp.arange(paths)) & (demand_mbps > 0)[:, None]
    columns = [
        demand_mbps / scale,
        now.rates_mbps / asks,
        taken.ravel(),
        xp.minimum(now.left_mbps / asks[:, None], 1.0).ravel(),
        xp.minimum(now.fair_mbps / asks[:, None], 1.0).ravel(),
        xp.stack([now.value, now.best]),
    ]
    return xp.concatenate([xp.asarray(column, dtype=xp.float32) for column in columns])


def mask(xp: Any, choice: Array, demand_mbps: Array, options: Options) -> Array:
    """Which actions do something, bool[K * F]: a flow with demand takes another path that it has."""
    other = choice[:, None] != xp.arange(options.exists.shape[1])
    return (options.exists & other & (demand_mbps > 0)[:, None]).T.ravel()


def flow_and_path(action: Array, flows: int) -> tuple[Array, Array]:
    """The document's numbering: flow `action mod F` takes path `action div F` (its Fig. 16, line 22)."""
    return action % flows, action // flows
