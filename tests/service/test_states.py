"""States of resources: what may follow what."""

from __future__ import annotations

import random

import pytest

from edgewright.core.errors import InputError
from edgewright.service.refusals import Conflict
from edgewright.service.resources import machine


@pytest.mark.parametrize(
    ("states", "old", "allowed"),
    [
        (machine.SERVICE_ORDER, "acknowledged", "inProgress rejected cancelled assessingCancellation"),
        (machine.SERVICE_ORDER, "pendingCancellation", "cancelled"),
        (machine.SERVICE_ORDER, "completed", ""),
        (machine.SERVICE_ORDER_ITEM, "held", "inProgress cancelled assessingCancellation"),
        (machine.SERVICE, "feasibilityChecked", "designed reserved inactive active"),
        (machine.SERVICE, "inactive", "active"),
        (machine.SERVICE, "active", "inactive terminated"),
        (machine.CANCEL_SERVICE_ORDER, "inProgress", "done terminatedWithError"),
    ],
)
def test_moves(states: machine.Machine, old: str, allowed: str) -> None:
    for new in states.moves:
        if new == old or new in allowed.split():
            states.check_move(old, new)
        else:
            with pytest.raises(Conflict, match=f"state: {old} leads to .*, not to {new}"):
                states.check_move(old, new)
    with pytest.raises(InputError, match="state"):
        states.check_move(old, "Active")


@pytest.mark.parametrize(
    "states", [machine.SERVICE_ORDER, machine.SERVICE_ORDER_ITEM, machine.SERVICE, machine.CANCEL_SERVICE_ORDER]
)
def test_all_states_are_reached_and_lead_on_to_states(states: machine.Machine) -> None:
    reached = set(states.initial)
    for _ in states.moves:
        reached |= {new for old in reached for new in states.moves[old]}
    assert reached == set(states.moves)
    for state in states.initial:
        states.check_initial(state)
    for state in ("no such", random.Random(0).choice(sorted(s for s in states.moves if states.is_final(s)))):
        with pytest.raises(InputError, match="state"):
            states.check_initial(state)
