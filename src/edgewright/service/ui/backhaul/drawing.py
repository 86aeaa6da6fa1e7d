"""Where the nodes of a network stand in its picture: donors on top, below them who is one hop away, and so on."""

from __future__ import annotations

from collections.abc import Sequence

SWEEPS = 6


def places(nodes: int, donors: Sequence[int], links: Sequence[tuple[int, int]]) -> list[tuple[float, int]]:
    """-> of each node: how far to the right, 0..1, and its layer from 0. Nodes without a way are the last layer."""
    near: list[set[int]] = [set() for _ in range(nodes)]
    for u, v in links:
        near[u].add(v)
        near[v].add(u)
    layer = dict.fromkeys(donors, 0)
    reached, waiting = list(layer), list(layer)
    while waiting:
        waiting = sorted({there for node in waiting for there in near[node]} - layer.keys())
        layer |= dict.fromkeys(waiting, layer[reached[-1]] + 1)
        reached += waiting
    lost = [node for node in range(nodes) if node not in layer]
    layer |= dict.fromkeys(lost, max(layer.values()) + 1)
    rows = [[node for node in range(nodes) if layer[node] == at] for at in range(max(layer.values()) + 1)]
    x = {node: (i + 0.5) / len(row) for row in rows for i, node in enumerate(row)}
    # Fewer crossings: a row is ordered by where its neighbours stand (Sugiyama), from the top and from below in turn.
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            beside = -1 if sweep % 2 == 0 else 1
            towards = {n: [x[m] for m in near[n] if layer[m] == layer[n] + beside] or [x[n]] for n in row}
            row.sort(key=lambda n, at=towards: (sum(at[n]) / len(at[n]), n))  # type: ignore[misc]
            x |= {node: (i + 0.5) / len(row) for i, node in enumerate(row)}
    return [(x[node], layer[node]) for node in range(nodes)]
