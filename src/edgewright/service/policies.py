"""What the API tells of each policy."""

from __future__ import annotations

from typing import Any

from edgewright.core.errors import InputError
from edgewright.core.registry import load
from edgewright.scaling.policies import POLICIES

# name -> title, kind
TITLES = {
    "fixed": ("Fixed limits", "rule"),
    "threshold": ("Utilisation thresholds", "rule"),
    "hpa": ("Kubernetes HPA's rule", "rule"),
    "vpa": ("Kubernetes VPA's rule", "rule"),
    "model": ("Queueing model", "model"),
    "curves": ("Learned: cost curves", "learned"),
    "dqn": ("Learned: DQN", "learned"),
    "ppo": ("Learned: PPO", "learned"),
}


def policy_cards() -> list[dict[str, Any]]:
    """Name, title, kind (learned, rule, model), summary of each, and whether it can be used."""
    return [_card(name) for name in POLICIES]


def _card(name: str) -> dict[str, Any]:
    title, kind = TITLES.get(name, (name, "rule"))
    try:
        summary, available = (_trained(name) if kind == "learned" else _described(name)), True
    except (InputError, ImportError) as error:
        summary, available = str(error), False
    return {"name": name, "title": title, "kind": kind, "summary": summary, "available": available}


def _described(name: str) -> str:
    """The first paragraph of its module's text."""
    import sys

    method = load(POLICIES[name])
    return " ".join((sys.modules[method.__module__].__doc__ or "").split("\n\n")[0].split())


def _trained(name: str) -> str:
    from edgewright.scaling.curves import CurvesCard
    from edgewright.scaling.policies.learned import read_card, shipped

    card = read_card(shipped(name))
    if isinstance(card, CurvesCard):
        return (
            f"Late requests and CPU of each limit, learned from {card.states:,} states of the scaling twin, seed "
            f"{card.seed}; takes the cheapest"
        )
    text = f"{card.algorithm.upper()}, trained on the {card.twin} twin for {card.steps:,} steps, seed {card.seed}"
    if card.evaluation is not None:
        text += f"; mean return {card.evaluation.mean_return:.3g} over {card.evaluation.episodes} unseen episodes"
    return text
