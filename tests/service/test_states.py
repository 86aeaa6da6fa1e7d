"""States of resources: what may follow what."""

from __future__ import annotations

import pytest

from edgewright.core.errors import InputError
from edgewright.service.refusals import Conflict
from edgewright.service.resources.machine import Machine
from edgewright.service.tmf.states import CANCEL_SERVICE_ORDER, SERVICE, SERVICE_ORDER


@pytest.mark.parametrize(
    ("states", "old", "allowed"),
    [
        (SERVICE_ORDER, "acknowledged", "inProgress rejected cancelled assessingCancellation"),
        (SERVICE_ORDER, "pendingCancellation", "cancelled"),
        (SERVICE_ORDER, "completed", ""),
        (SERVICE_ORDER, "held", "inProgress cancelled assessingCancellation"),
        (SERVICE, "feasibilityChecked", "designed reserved inactive active"),
        (SERVICE, "inactive", "active"),
        (SERVICE, "active", "inactive terminated"),
        (CANCEL_SERVICE_ORDER, "inProgress", "done terminatedWithError"),
    ],
)
def test_moves(states: Machine, old: str, allowed: str) -> None:
    for new in states.moves:
        if new == old or new in allowed.split():
            states.check_move(old, new)
        else:
            with pytest.raises(Conflict, match=f"state: {old} leads to .*, not to {new}"):
                states.check_move(old, new)
    with pytest.raises(InputError, match="state"):
        states.check_move(old, "Active")


@pytest.mark.parametrize("states", [SERVICE_ORDER, SERVICE, CANCEL_SERVICE_ORDER])
def test_all_states_are_reached_and_lead_on_to_states(states: Machine) -> None:
    reached = set(states.initial)
    for _ in states.moves:
        reached |= {new for old in reached for new in states.moves[old]}
    assert reached == set(states.moves)
    for state in states.initial:
        states.check_initial(state)
    for state in {"no such", *states.moves} - states.initial:
        with pytest.raises(InputError, match="state"):
            states.check_initial(state)


def test_final_states_lead_nowhere_and_a_service_may_be_recorded_after_its_end() -> None:
    assert SERVICE_ORDER.final == {"completed", "failed", "partial", "rejected", "cancelled"}
    assert SERVICE.final == {"terminated"} < SERVICE.initial
