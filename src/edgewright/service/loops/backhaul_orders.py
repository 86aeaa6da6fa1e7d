"""Users' orders to a backhaul loop: checked, kept in the store, then applied. An order that fails changes nothing."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import update

from edgewright.backhaul.scenario import check_planner
from edgewright.core.errors import InputError
from edgewright.service.loops.backhaul import BackhaulLoop
from edgewright.service.loops.loop import Mode
from edgewright.service.refusals import Conflict
from edgewright.service.store.tables import BackhaulRow

MAX_FACTOR = 100.0


def change(loop: BackhaulLoop, *, mode: Mode | None = None, planner: str | None = None) -> None:
    """Switch mode and planner, both or neither. Raises InputError, StoreError."""
    if planner is not None:
        check_planner(planner)
    with loop.ordering:
        old = loop.orders.mode, loop.orders.planner
        new = mode or loop.orders.mode, planner or loop.orders.planner
        _keep(loop, mode=new[0], planner=new[1])
        with loop.lock:
            loop.orders.mode, loop.orders.planner = new
        for what, before, after in zip(("mode", "planner"), old, new, strict=True):
            if before != after:
                loop.event(what, f"{before} -> {after}")


def set_demand(loop: BackhaulLoop, **given: Any) -> None:
    """`matrix`: id of the one that stays, None: they take turns; `factor` multiplies. What is not given stays.

    Raises InputError, StoreError.
    """
    ids = [matrix.id for matrix in loop.scenario.network.matrices]
    with loop.ordering:
        new = {"matrix": loop.orders.matrix, "factor": loop.orders.factor} | given
        if new["matrix"] is not None and new["matrix"] not in ids:
            raise InputError("matrix", new["matrix"], f"one of {ids}, or null: they take turns")
        if not (math.isfinite(new["factor"]) and 0 <= new["factor"] <= MAX_FACTOR):
            raise InputError("factor", new["factor"], f"0 .. {MAX_FACTOR:g}")
        _keep(loop, demand=new)
        with loop.lock:
            loop.orders.matrix, loop.orders.factor = new["matrix"], float(new["factor"])
            if "matrix" in given:
                loop.choose_matrix()
            loop.offer()
        loop.event("demand", ", ".join(f"{name} {value}" for name, value in given.items()))


def set_link(loop: BackhaulLoop, link: int, *, up: bool) -> None:
    """Break or repair a link of the network itself; the loop finds out as it would of any other.

    Raises Conflict where the network does not run yet.
    """
    with loop.lock:
        if loop.plane is None or loop.phase != "running":
            raise Conflict(f"the network of {loop.name} is {loop.phase}")
        loop.plane.set_link(link, up=up)


def _keep(loop: BackhaulLoop, **values: Any) -> None:
    with loop.recorder.store.write() as session:
        session.execute(update(BackhaulRow).where(BackhaulRow.name == loop.name).values(**values))
