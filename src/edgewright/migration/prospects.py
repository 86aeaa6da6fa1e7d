"""Prospects: what it is worth, from the next step on, to have the service on each node, for one that stays there and
for one that comes; as a network predicts it from the last steps.

Where a service is changes nothing of what happens to round-trip times and loads. So one drive tells what every choice
at every step would have led to, and the network learns from that by regression instead of by trial (cf. Sinclair et
al. 2023, "Hindsight Learning for MDPs with Exogenous Inputs"); `prospect_training.py` does, `policies/prospects.py`
acts. Over `xp`: jax.numpy in training, numpy live. Shapes: N nodes.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from edgewright.core.contracts import Array
from edgewright.core.documents import Document
from edgewright.migration.observation import MOST


class ProspectsCard(Document):
    """What is written beside the weights."""

    format: Literal["edgewright.prospects/1"] = "edgewright.prospects/1"
    window: int
    """Steps that the network sees."""
    hidden: tuple[int, ...]
    steps: int
    """Of the drives that it learned from."""
    seed: int
    gap: float
    """On drives that it did not learn from, over other days where loads are drawn: mean reward below the optimum's."""
    edgewright: str
    scenario: dict[str, Any]
    """See `observation.trained_for`."""


def row(xp: Any, rtt_ms: Array, load: Array, rtt_max_ms: float, load_max: float) -> Array:
    """float32[..., 2 N] of one step: round-trip times in parts of their maximum, logarithms of loads; capped."""
    parts = [rtt_ms / rtt_max_ms, xp.log(load) / np.log(load_max)]
    return xp.minimum(xp.concatenate(parts, -1), MOST).astype(xp.float32)


def choose(xp: Any, prospects: Array) -> Array:
    """[..., 2 N], of staying and of coming -> int[..., N]: where to go from each node; ties go to staying."""
    stays, comes = xp.split(prospects, 2, -1)
    best = comes.argmax(-1)[..., None]
    return xp.where(comes.max(-1)[..., None] > stays, best, xp.arange(stays.shape[-1]))
