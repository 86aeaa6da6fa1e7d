"""Users' orders to a migration loop: checked, kept in the store, then applied. An order that fails changes nothing."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import update

from edgewright.core.errors import InputError
from edgewright.migration.policies import make_policy
from edgewright.migration.scenario import FASTEST, SLOWEST
from edgewright.service.loops.loop import Mode
from edgewright.service.loops.migration import MOVING, MigrationLoop
from edgewright.service.loops.orders import named_policy
from edgewright.service.refusals import Conflict
from edgewright.service.store.tables import MigrationRow


def change(loop: MigrationLoop, *, mode: Mode | None = None, policy: str | None = None) -> None:
    """Switch mode and policy, both or neither. Raises InputError, StoreError."""
    with loop.ordering:
        old = loop.orders.mode, loop.orders.policy
        made = None
        if policy is not None:
            policy, made = named_policy(policy, lambda name: make_policy(name, loop.scenario.scenario))
        new = mode or old[0], policy or old[1]
        _keep(loop, mode=new[0], policy=new[1])
        with loop.lock:
            loop.orders.mode, loop.orders.policy = new
            if made is not None:
                loop.use_policy(made)
        for what, before, after in zip(("mode", "policy"), old, new, strict=True):
            if before != after:
                loop.event(what, f"{before} -> {after}")


def set_drive(loop: MigrationLoop, *, pace: float | None = None, again: bool = False) -> None:
    """How fast it goes, and whether the next one begins now. Raises InputError, StoreError."""
    if pace is not None and not (math.isfinite(pace) and SLOWEST <= pace <= FASTEST):
        raise InputError("pace", pace, f"{SLOWEST:g} .. {FASTEST:g}")
    with loop.ordering:
        if pace is not None:
            _keep(loop, pace=pace)
        with loop.lock:
            if pace is not None:
                loop.orders.pace = pace
                loop.pace.period_s = loop.period_s
                if loop.site is not None:
                    loop.site.set_step(loop.period_s)
            if again:
                loop.next_drive()
        if pace is not None:
            loop.event("pace", f"× {pace:g}")


def migrate(loop: MigrationLoop, target: str) -> None:
    """Move the service there now, in any mode. Raises InputError, Conflict."""
    if target not in loop.names:
        raise InputError("target", target, f"one of {', '.join(loop.names)}")
    with loop.lock:
        if loop.phase != "running" or loop.site is None:
            raise Conflict(f"the loop {loop.name} is {loop.phase}")
        if loop.under_way is not None:
            raise Conflict(MOVING)
        if target == loop.node_name:
            raise InputError("target", target, "another node than the one that serves")
        loop.begin(loop.names.index(target), "user")
    loop.event("ordered", f"move to {target}")


def _keep(loop: MigrationLoop, **values: Any) -> None:
    with loop.recorder.store.write() as session:
        session.execute(update(MigrationRow).where(MigrationRow.name == loop.name).values(**values))
