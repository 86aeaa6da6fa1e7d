"""Memory limits from the recent working set: the highest of a window plus a margin, and at once more after a kill."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.scaling.observation import Observation


@dataclass(frozen=True)
class PercentileMemory:
    """The `percentile` of the last `window` working sets, extrapolated by its recent growth, plus `margin`."""

    percentile: float = 95.0
    margin: float = 0.2
    window: int = 30  # intervals
    lead: float = 5.0  # intervals of growth to stay ahead of
    after_kill: float = 1.5

    def decide(self, observation: Observation, memory: Any) -> tuple[FloatArray, Any]:
        """-> wanted limits float[A], bytes; the guard bounds them."""
        used = np.asarray(observation.memory_bytes, dtype=np.float64)
        limit = np.asarray(observation.memory_limit_bytes, dtype=np.float64)
        recent: deque[FloatArray] = memory if memory is not None else deque(maxlen=self.window)
        recent.append(used)
        past = recent[-min(len(recent), 4)]
        growth = np.maximum(used - past, 0.0) / max(min(len(recent), 4) - 1, 1)
        high = np.maximum(np.percentile(np.stack(recent), self.percentile, axis=0), used)
        wanted = (high + self.lead * growth) * (1 + self.margin)
        killed = np.asarray(observation.oom_kills) > 0
        return np.where(killed, np.maximum(wanted, limit * self.after_kill), wanted), recent
