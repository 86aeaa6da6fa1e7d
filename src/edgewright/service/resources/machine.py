"""States of resources and the moves between them that the standards allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgewright.core.errors import InputError
from edgewright.service.refusals import Conflict


@dataclass(frozen=True)
class Machine:
    """`name` is the attribute that holds the state; a state that `moves` gives no way on is final."""

    name: str
    initial: frozenset[str]
    moves: Mapping[str, frozenset[str]]

    def check_initial(self, state: str) -> None:
        """Raises InputError for a state that a new resource cannot have."""
        if state not in self.initial:
            raise InputError(self.name, state, f"in a new resource one of {sorted(self.initial)}")

    def check_move(self, old: str, new: str) -> None:
        """To stay is no move. Raises InputError for an unknown state, Conflict for a move that is not allowed."""
        if new not in self.moves:
            raise InputError(self.name, new, f"one of {sorted(self.moves)}")
        if new != old and new not in self.moves[old]:
            onward = ", ".join(sorted(self.moves[old])) or "nothing"
            raise Conflict(f"{self.name}: {old} leads to {onward}, not to {new}")

    def is_final(self, state: str) -> bool:
        return not self.moves[state]


def _moves(**moves: str) -> dict[str, frozenset[str]]:
    return {state: frozenset(onward.split()) for state, onward in moves.items()}


# TMF641 v4, ServiceOrderStateType and ServiceOrderItemStateType. An assessment that refuses the cancellation leads back
# to where it began, which is for the caller to remember.
_ORDER = _moves(
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
)
SERVICE_ORDER = Machine("state", frozenset({"acknowledged"}), _ORDER)
SERVICE_ORDER_ITEM = Machine("state", frozenset({"acknowledged"}), _ORDER)

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

# TMF638 v4, ServiceStateType. One that was already there when it is recorded may be in any state but the last.
_SERVICE = _moves(
    feasibilityChecked="designed reserved inactive active",
    designed="reserved inactive active",
    reserved="designed inactive active",
    inactive="active",
    active="inactive terminated",
    terminated="",
)
SERVICE = Machine("state", frozenset(_SERVICE) - {"terminated"}, _SERVICE)
