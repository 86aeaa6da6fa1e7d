"""The same resources under other bases: those of NANCY D4.2, table 4."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Receive, Scope, Send

from edgewright.service.tmf.kinds import Api


@dataclass
class Aliases:
    """Calls what an alias stands for: answers (`href`, `Location`, `Link`) name the specification's base."""

    app: ASGIApp
    apis: Iterable[Api]
    _bases: dict[str, str] = field(init=False)  # alias and what is under it -> the same under the API's base

    def __post_init__(self) -> None:
        self._bases = {
            f"{alias}/{name}": f"{api.base}/{name}"
            for api in self.apis
            for alias, kinds in api.aliases.items()
            for name in (*(kinds or (kind.name for kind in api.kinds)), "hub")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        for known in (path, path.rpartition("/")[0]):  # a collection, or one of it
            if known in self._bases:
                scope = {**scope, "path": self._bases[known] + path[len(known) :]}
                break
        await self.app(scope, receive, send)
