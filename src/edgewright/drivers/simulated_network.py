"""A network whose flows get the rates that a twin gives them: the same contract as the emulated one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Sequence
from typing import Self

import numpy as np

from edgewright.core.contracts import BoolArray, FloatArray
from edgewright.core.errors import InputError
from edgewright.drivers.forwarding import Counters, Layout, RouteError

Rates = Callable[[Sequence[Sequence[int]], BoolArray, FloatArray], FloatArray]
"""(links of each flow's path, () where it has none; links that are up bool[L]; demand float[F]) -> Mb/s float[F]"""


class SimulatedNetwork:
    """A ForwardingPlane that follows a clock. Rates settle at once. `paths`: those of each flow that `rates` knows."""

    def __init__(
        self,
        layout: Layout,
        rates: Rates,
        paths: Sequence[Container[tuple[int, ...]]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layout, self._rates, self._known, self._clock = layout, rates, paths, clock
        self._lock = threading.Lock()
        self._paths: list[tuple[int, ...]] = [() for _ in layout.sources]
        self._up = np.ones(len(layout.links), dtype=bool)
        self._demand = np.zeros(len(layout.sources))
        self._link_bytes, self._flow_bytes = np.zeros(len(layout.links)), np.zeros(len(layout.sources))
        self._at_s = clock()

    @property
    def layout(self) -> Layout:
        return self._layout

    def offer(self, demand_mbps: Sequence[float]) -> None:
        """What each flow offers from now on, Mb/s."""
        if len(demand_mbps) != len(self._layout.sources):
            given, allowed = f"{len(demand_mbps)} numbers", f"{len(self._layout.sources)}, one per flow"
            raise InputError("demand_mbps", given, allowed)
        with self._lock:
            self._advance()
            self._demand = np.array(demand_mbps, dtype=np.float64)

    def set_link(self, link: int, *, up: bool) -> None:
        """Break or repair a link. What crosses one that breaks has lost its path, as in a kernel."""
        with self._lock:
            self._advance()
            self._up[link] = up
            if not up:
                self._paths = [() if link in path else path for path in self._paths]

    def route(self, flow: int, path: Sequence[int]) -> None:
        self._layout.walk(flow, path)
        if tuple(path) not in self._known[flow]:
            raise RouteError(flow, "the twin knows no such path")
        with self._lock:
            self._advance()
            if down := [link for link in path if not self._up[link]]:
                raise RouteError(flow, f"link {down[0]} is down")
            self._paths[flow] = tuple(path)

    def counters(self) -> Counters:
        with self._lock:
            self._advance()
            carried, received = (tuple(map(int, counts)) for counts in (self._link_bytes, self._flow_bytes))
            return Counters(self._at_s, tuple(map(bool, self._up)), carried, received)

    def close(self) -> None:
        """There is nothing to leave behind."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _advance(self) -> None:
        now_s = self._clock()
        if now_s > self._at_s:
            received = self._rates(self._paths, self._up, self._demand) * (1e6 / 8) * (now_s - self._at_s)
            self._flow_bytes += received
            for path, count in zip(self._paths, received, strict=True):
                self._link_bytes[list(path)] += count
            self._at_s = now_s
