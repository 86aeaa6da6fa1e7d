"""What foresight is worth: it knows the coming requests, one by one, and picks each limit by trying it.

A reference, not a proven bound: it looks one interval ahead, service by service, on a grid. Not a policy for a real
slice: it looks into the reference twin it controls.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgewright.core.contracts import BoolArray, FloatArray
from edgewright.scaling.events import SimulatedSlice, serve
from edgewright.scaling.model import CFS_PERIOD_S, Action
from edgewright.scaling.observation import Observation

GRID = 40
WAITING_WEIGHT = 0.5  # late requests that one still waiting at the interval's end will cause


class Oracle:
    """Per service the limit with the least late requests + price * cores over the coming interval.

    `price`: late requests that a reserved core-second is worth.
    """

    def __init__(self, simulated: SimulatedSlice, price: float = 12.0) -> None:
        self._slice, self._price = simulated, price

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: Any
    ) -> tuple[Action, Any, tuple[str, ...]]:
        limits = np.array([self._best(i) for i in range(len(self._slice.scenario.services))])
        return Action(limits), None, ("knows the coming requests",) * limits.size

    def _best(self, index: int) -> float:
        scenario, twin = self._slice.scenario, self._slice.twin
        service, slo, interval_s = scenario.services[index], scenario.slo, scenario.control.interval_s
        arrival, left = twin.upcoming(index, interval_s)
        waiting = int((arrival <= 0).sum())
        bound_s = slo.response_s - service.behaviour.overhead_ms / 1e3
        costs: list[float] = []
        grid: FloatArray = np.linspace(service.cpu.min, service.cpu.max, GRID)
        for limit in grid:
            finish, state, _, _, _, still = serve(
                arrival,
                left.copy(),
                0,
                waiting,
                min(limit, 1.0) * CFS_PERIOD_S,
                round(interval_s / CFS_PERIOD_S),
                CFS_PERIOD_S,
                service.behaviour.queue_limit,
            )
            # A request that still waits is late already if its time is up: serving it makes nothing worse.
            response = np.where(state == 1, finish, interval_s) - arrival
            late = ((response > bound_s) | (state == 2)).sum()
            costs.append(late + WAITING_WEIGHT * max(still - 1, 0) + self._price * limit * interval_s)
        return float(grid[int(np.argmin(costs))])
