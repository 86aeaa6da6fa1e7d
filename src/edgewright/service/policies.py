"""What the API tells of each policy."""

from __future__ import annotations

from functools import cache
from typing import Any

from edgewright.core.registry import load
from edgewright.scaling.policies import POLICIES

KINDS = {"model": "model", "dqn": "learned", "ppo": "learned"}  # every other is a rule


@cache
def policy_cards() -> list[dict[str, Any]]:
    """Name, title, kind (learned, rule, model) and summary of each."""
    return [_card(name, reference) for name, reference in POLICIES.items()]


def _card(name: str, reference: str) -> dict[str, Any]:
    card = {"name": name, "title": name, "kind": KINDS.get(name, "rule"), "summary": None, "available": True}
    try:
        text = " ".join((load(reference).__doc__ or "").split("\n\n")[0].split())
    except Exception as error:  # one broken method must not hide the others
        return card | {"available": False, "summary": f"cannot be loaded: {error}"}
    return card | {"title": text.split(". ")[0].rstrip(".") or name, "summary": text or None}
