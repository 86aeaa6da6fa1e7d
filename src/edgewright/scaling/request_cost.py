"""What a request costs a live service: learned from the CPU it used and the requests it answered.

A scenario declares it (`behaviour`), but hosts differ, and one host differs from hour to hour.
"""

from __future__ import annotations

import numpy as np

from edgewright.core.contracts import FloatArray

MEMORY_S = 20.0  # time constant of forgetting
DECLARED_REQUESTS = 20.0  # what is declared counts as much as so many observed requests
SPAN = 4.0  # the estimate lies between declared / SPAN and declared * SPAN
STEPS = 32  # per doubling: policies keep a table per cost, which noise must not make anew every second


class RequestCost:
    """One estimate per service; `declared_s` float64[A], s of CPU a request."""

    def __init__(self, declared_s: FloatArray) -> None:
        self.declared_s = np.asarray(declared_s, dtype=np.float64)
        self._used_s, self._answered = np.zeros_like(self.declared_s), np.zeros_like(self.declared_s)

    def update(self, used_s: FloatArray, answered: FloatArray, seconds: float) -> FloatArray:
        """CPU used and requests answered in the last `seconds`, float64[A] each -> s of CPU a request, float64[A]."""
        kept = np.exp(-seconds / MEMORY_S)
        self._used_s = kept * self._used_s + used_s
        self._answered = kept * self._answered + answered
        total = DECLARED_REQUESTS * self.declared_s + self._used_s
        ratio = total / (DECLARED_REQUESTS + self._answered) / self.declared_s
        steps = np.round(np.log2(np.clip(ratio, 1 / SPAN, SPAN)) * STEPS)
        return np.asarray(self.declared_s * 2.0 ** (steps / STEPS))
