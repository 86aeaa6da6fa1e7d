"""What the routes of every kind of loop beside the scaling loops share."""

from __future__ import annotations

from typing import Any

from edgewright.service.kinds import Kind, L
from edgewright.service.refusals import NotFound


def loop_of(kind: Kind[Any, Any, L], name: str) -> L:
    """That runs. Raises NotFound."""
    found = kind.loops.get(name)
    if found is None:
        raise NotFound(f"{kind.word} loop", name, known=f"{sorted(kind.loops)}")
    return found


def require_known(kind: Kind[Any, Any, Any], name: str, found: bool = False) -> None:
    """A loop without records yet is known, one that nobody ever ran is not. Raises NotFound."""
    if not found and name not in kind.loops and not kind.knows(name):
        raise NotFound(f"{kind.word} loop", name)
