"""Candidate paths of each flow: up to K per band, each from a node over ever lower-numbered nodes to a donor.

Heuristics of D4.2, 4.2.1, by dynamic programming: the graph has no cycle, since every link leads from its higher node
to its lower one. `common-links` (the default) takes paths that share few links with those chosen before;
`common-last-hop` looks at the last link only; `shortest` at hops only; `all` takes every path up to a cap.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Literal, get_args

from edgewright.backhaul.model import Band, Flow, Link, Path, link_key
from edgewright.core.errors import InputError

Heuristic = Literal["common-links", "common-last-hop", "shortest", "all"]
CAP = 1000  # paths per flow and band, for `all`
_Route = tuple[int, ...]


def candidate_paths(
    links: Iterable[Link],
    donors: Iterable[int],
    sources: Iterable[int],
    *,
    k: int = 3,
    heuristic: Heuristic = "common-links",
) -> tuple[Flow, ...]:
    """A flow per source that reaches a donor, in the order given; up to `k` paths per band (CAP for `all`)."""
    if heuristic not in get_args(Heuristic):
        raise InputError("heuristic", heuristic, f"one of {list(get_args(Heuristic))}")
    if k < 1:
        raise InputError("k", k, ">= 1")
    lower: dict[Band, dict[int, list[int]]] = {"sub6": {}, "mmwave": {}}
    for link in links:
        lower[link.band].setdefault(max(link.u, link.v), []).append(min(link.u, link.v))
    ends = set(donors)
    chosen: Counter[tuple[Band, int, int]] = Counter()
    flows = []
    for source in sources:
        paths: list[Path] = []
        for band in ("sub6", "mmwave"):
            for route in _pick(lower[band], band, source, ends, k if heuristic != "all" else CAP, heuristic, chosen):
                paths.append(Path(band=band, nodes=route))
        if paths:
            flows.append(Flow(source=source, paths=tuple(paths)))
    return tuple(flows)


def _pick(
    lower: Mapping[int, list[int]],
    band: Band,
    source: int,
    donors: set[int],
    k: int,
    heuristic: Heuristic,
    chosen: Counter[tuple[Band, int, int]],
) -> list[_Route]:
    """Routes one after the other, each the cheapest left; what is chosen makes its links dearer for the next."""
    if heuristic in ("shortest", "all"):
        return _cheapest(lower, band, source, donors, k, heuristic, chosen)
    routes: list[_Route] = []
    while len(routes) < k:
        best = _cheapest(lower, band, source, donors, len(routes) + 1, heuristic, chosen)
        route = next((route for route in best if route not in routes), None)
        if route is None:
            break
        routes.append(route)
        hops = [link_key(band, u, v) for u, v in pairwise(route)]
        chosen.update(hops if heuristic == "common-links" else hops[-1:])
    return routes


def _cheapest(
    lower: Mapping[int, list[int]],
    band: Band,
    source: int,
    donors: set[int],
    count: int,
    heuristic: Heuristic,
    chosen: Mapping[tuple[Band, int, int], int],
) -> list[_Route]:
    """The `count` cheapest routes from the source, by (links shared, hops, nodes)."""
    best: dict[int, list[tuple[int, int, _Route]]] = {}
    for node in sorted(_below(lower, source, donors)):
        if node in donors:
            best[node] = [(0, 0, (node,))]
            continue
        offers = []
        for after in lower.get(node, ()):
            last = after in donors
            counts = heuristic == "common-links" or (heuristic == "common-last-hop" and last)
            shared = chosen[link_key(band, node, after)] if counts else 0
            offers += [(cost + shared, hops + 1, (node, *rest)) for cost, hops, rest in best[after]]
        best[node] = heapq.nsmallest(count, offers)
    return [route for _, _, route in best[source]] if source not in donors else []


def _below(lower: Mapping[int, list[int]], source: int, donors: set[int]) -> set[int]:
    """The source and every node that a route from it may cross."""
    seen, waiting = {source}, [source]
    while waiting:
        node = waiting.pop()
        for after in () if node in donors else lower.get(node, ()):
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return seen
