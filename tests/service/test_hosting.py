"""Drivers of chunks, closed together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from edgewright.drivers.host import HostError
from edgewright.service.slices.hosting import Hosting


@dataclass
class Part:
    name: str
    closed: list[str]
    fails: bool = False
    chunks: list[str] = field(default_factory=list)

    def close(self) -> None:
        self.closed.append(self.name)
        if self.fails:
            raise HostError(self.name, "ip link del: busy")

    close_all = close


def test_what_cannot_be_closed_holds_up_nothing_else() -> None:
    closed: list[str] = []
    parts: dict[str, Any] = {
        name: Part(name, closed, name in ("one", "ingress")) for name in ("one", "two", "ingress", "compute")
    }
    hosting = Hosting(parts["compute"], None, parts["ingress"], networks={each: parts[each] for each in ("one", "two")})
    hosting.chunks["a"] = parts["compute"]
    with pytest.raises(HostError, match="busy"):
        hosting.close()
    assert sorted(closed[:2]) == ["one", "two"]
    assert closed[2:] == ["ingress", "compute"]
    assert (hosting.networks, hosting.chunks) == ({}, {})
