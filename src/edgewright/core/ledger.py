"""What a host has, who booked how much of it, what is left: the same CPU is never promised twice.

Bookings nest: a chunk books from the host, a service's limit books from its chunk. Amounts are in the unit the
resource is named with: `cpu` (cores), `memory_bytes`, `storage_bytes`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgewright.core.errors import CapacityError, InputError

TOLERANCE = 1e-9  # sums of decimal fractions such as 0.1 + 0.2


@dataclass
class Ledger:
    """Capacity of one container (a host, a chunk) and its bookings. Thread-safe; every change is all or nothing."""

    capacity: dict[str, float]
    _booked: dict[str, dict[str, float]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def book(self, owner: str, amounts: Mapping[str, float]) -> None:
        """Book (or re-book, replacing what the owner had) amounts for an owner.

        Raises CapacityError, and changes nothing, where any resource would be exceeded;
        InputError for a negative, non-finite or unknown amount.
        """
        with self._lock:
            old = self._booked.get(owner, {})
            new = {**old, **amounts}
            for resource, wanted in amounts.items():
                if resource not in self.capacity:
                    raise InputError(resource, wanted, f"one of {sorted(self.capacity)}")
                if not math.isfinite(wanted) or wanted < 0:
                    raise InputError(resource, wanted, "a finite amount >= 0")
                left = self.left(resource) + old.get(resource, 0.0)
                if wanted > left + TOLERANCE:
                    raise CapacityError(resource, wanted, left, owner=owner)
            self._booked[owner] = new

    def release(self, owner: str) -> None:
        """Forget an owner's bookings; an unknown owner is fine."""
        with self._lock:
            self._booked.pop(owner, None)

    def left(self, resource: str) -> float:
        with self._lock:
            return self.capacity[resource] - sum(b.get(resource, 0.0) for b in self._booked.values())

    def booked(self, owner: str) -> dict[str, float]:
        with self._lock:
            return dict(self._booked.get(owner, {}))

    @property
    def owners(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._booked)
