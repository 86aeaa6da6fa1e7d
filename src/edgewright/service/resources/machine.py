"""States of a resource, and the moves between them that are allowed."""

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

    @property
    def final(self) -> frozenset[str]:
        return frozenset(state for state, onward in self.moves.items() if not onward)
