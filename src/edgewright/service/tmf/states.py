"""States of the TM Forum's resources, and the moves between them that the standards allow."""

from __future__ import annotations

from edgewright.service.resources.machine import Machine


def _moves(**moves: str) -> dict[str, frozenset[str]]:
    return {state: frozenset(onward.split()) for state, onward in moves.items()}


# TMF641 v4, ServiceOrderStateType. An assessment that refuses the cancellation leads back to where it began, which is
# for the caller to remember.
SERVICE_ORDER = Machine(
    "state",
    frozenset({"acknowledged"}),
    _moves(
        acknowledged="inProgress rejected cancelled assessingCancellation",
        inProgress="pending held completed failed partial cancelled assessingCancellation",
        pending="inProgress cancelled assessingCancellation",
        held="inProgress cancelled assessingCancellation",
        assessingCancellation="pendingCancellation acknowledged inProgress pending held",
        pendingCancellation="cancelled",
        rejected="",
        cancelled="",
        completed="",
        failed="",
        partial="",
    ),
)

# TMF641 v4, TaskStateType of a CancelServiceOrder.
CANCEL_SERVICE_ORDER = Machine(
    "state",
    frozenset({"accepted"}),
    _moves(
        accepted="inProgress done terminatedWithError",
        inProgress="done terminatedWithError",
        done="",
        terminatedWithError="",
    ),
)

# TMF638 v4, ServiceStateType. One that was already there may be recorded in any state, and after its end, too.
_SERVICE = _moves(
    feasibilityChecked="designed reserved inactive active",
    designed="reserved inactive active",
    reserved="designed inactive active",
    inactive="active",
    active="inactive terminated",
    terminated="",
)
SERVICE = Machine("state", frozenset(_SERVICE), _SERVICE)
