"""The emulated network: nothing outside it changes, a refused path leaves no trace, a crash can be cleaned up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgewright.core.errors import InputError
from edgewright.drivers.forwarding import Layout, LinkSpec, RouteError
from edgewright.drivers.linux.namespaces import NetworkError, reconcile
from edgewright.drivers.linux.netlink import Netlink, Route
from edgewright.drivers.linux.network import CORE, FIRST_TABLE, SINK, EmulatedNetwork
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.traffic import Traffic

pytestmark = pytest.mark.real
LINE = Layout(4, (0, 3), (LinkSpec(1, 0, 10), LinkSpec(2, 1, 10), LinkSpec(2, 3, 10)), (1, 2))


@pytest.fixture(autouse=True)
def _permitted(require) -> None:
    require("network-emulation")


@pytest.fixture
def network() -> Iterator[EmulatedNetwork]:
    with EmulatedNetwork(LINE) as made:
        yield made


def shown(*command: str) -> str:
    return subprocess.run(["ip", *command], capture_output=True, text=True, check=True).stdout


def routes(network: EmulatedNetwork) -> list[str]:
    """Without the mark of a link that is down: it comes a moment later."""
    tables = (shown("-n", network.namespace(node), "route", "show", "table", "all") for node in (*range(4), CORE))
    return [table.replace("linkdown ", "") for table in tables]


def ours(pid: int) -> list[str]:
    return [path.name for path in Path("/run/netns").glob(f"edgewright-{pid}-*")]


def test_the_host_stays_as_it_is() -> None:
    def host() -> list[str]:
        return [shown("-br", "link"), shown("rule"), shown("route", "show", "table", "all")]

    before = host()
    with EmulatedNetwork(LINE) as network:
        network.route(0, [0])
        assert host() == before
        assert len(ours(os.getpid())) == 5
        outside = shown("-n", network.namespace(1), "route", "get", "10.0.0.1", "from", network.address(0))
        assert "10.0.0.1 from 10.1.0.0 via 10.2.0.1 dev l0 table 1000" in outside
        for node in (1, CORE):
            away = subprocess.run(["ip", "-n", network.namespace(node), "route", "get", "192.0.2.1"], check=False)
            assert away.returncode != 0
    network.close()
    assert host() == before
    assert ours(os.getpid()) == []


def trace(network: EmulatedNetwork, flow: int, *, back: bool) -> list[int]:
    """Nodes that a packet of the flow would cross now, on its way out to the core or back, by the kernel's tables."""
    source = LINE.sources[flow]
    node, crossed = (CORE, [CORE]) if back else (source, [source])
    table = [f"{network.address(flow)}/32"] if back else ["table", str(FIRST_TABLE + flow)]
    while node != (source if back else CORE):
        (route,) = json.loads(shown("-j", "-n", network.namespace(node), "route", "show", *table))
        kind, index = route["dev"][0], int(route["dev"][1:])
        ends = {LINE.links[index].u, LINE.links[index].v} if kind == "l" else {LINE.donors[index], CORE}
        node = (ends - {node}).pop()
        assert node not in crossed
        crossed.append(node)
    return crossed


def test_at_every_step_of_a_change_packets_find_their_way(
    network: EmulatedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.route(1, [2])
    assert trace(network, 1, back=False) == [2, 3, CORE]
    put, seen = Netlink.put, []

    def put_and_look(netlink: Netlink, route: Route) -> None:
        put(netlink, route)
        seen.append((trace(network, 1, back=False), trace(network, 1, back=True)))

    monkeypatch.setattr(Netlink, "put", put_and_look)
    network.route(1, [1, 0])
    old, new = [2, 3, CORE], [2, 1, 0, CORE]
    assert all(out in (old, new) and back[::-1] in (old, new) for out, back in seen)
    assert len(seen) == 6
    assert seen[-1] == (new, new[::-1])


def test_a_path_refused_halfway_leaves_every_table_as_it_was(network: EmulatedNetwork) -> None:
    network.route(0, [0])
    network.route(1, [2])
    network.set_link(0, up=False)
    before = routes(network)
    with pytest.raises(RouteError, match=r"flow 1: node 1, link 0: \[Errno \d+\] Network is"):
        network.route(1, [1, 0])
    assert routes(network) == before
    network.set_link(0, up=True)
    network.route(1, [1, 0])
    assert routes(network) != before


def test_a_link_that_is_down_at_either_end_or_comes_back_is_seen(network: EmulatedNetwork) -> None:
    for node in (1, 0):
        assert network.counters().up == (True, True, True)
        shown("-n", network.namespace(node), "link", "set", "l0", "down")
        assert network.counters().up == (False, True, True)
        shown("-n", network.namespace(node), "link", "set", "l0", "up")


def test_what_a_crashed_owner_left_is_removed_and_nothing_else(network: EmulatedNetwork) -> None:
    code = f"""
import os, signal
from edgewright.core.errors import InputError
from edgewright.drivers.forwarding import Layout, LinkSpec
from edgewright.drivers.linux.netlink import Netlink, Route
from edgewright.drivers.linux.network import SINK, EmulatedNetwork
from edgewright.drivers.linux.traffic import Traffic
network = EmulatedNetwork({LINE!r})
network.route(0, [0])
traffic = Traffic([(network.namespace(1), network.address(0))], (network.namespace(-1), SINK))
traffic.offer([1.0])
print(os.getpid(), traffic.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    owner, sender = map(int, done.stdout.split())
    traffic = Process.of(sender)
    assert traffic is None or traffic.wait(5.0), "traffic outlives who started it"
    left = ours(owner)
    assert len(left) == 5
    assert reconcile() == sorted(left)
    assert ours(owner) == []
    assert len(ours(os.getpid())) == 5
    network.route(0, [0])


def test_two_who_clean_up_at_once_leave_nothing(network: EmulatedNetwork) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(network.close) for _ in range(4)]:
            done.result()
    assert ours(os.getpid()) == []


def test_a_deletion_that_failed_is_tried_again(network: EmulatedNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NetworkError, match="stay"):
        network.close()
    monkeypatch.undo()
    network.close()
    assert ours(os.getpid()) == []


def test_senders_say_what_they_cannot_offer_and_that_they_ended(network: EmulatedNetwork) -> None:
    network.route(0, [0])
    with Traffic([(network.namespace(1), network.address(0))], (network.namespace(CORE), SINK)) as traffic:
        for wrong in (float("nan"), -1.0, float("inf")):
            with pytest.raises(InputError, match="demand_mbps"):
                traffic.offer([wrong])
        traffic.offer([20_000.0])  # more than 32 bits of bytes a second
        deadline = time.monotonic() + 10.0
        while not network.counters().flow_bytes[0]:
            assert time.monotonic() < deadline, "no byte came"
            time.sleep(0.05)
        senders = Process.of(traffic.pid)
        assert senders is not None
        os.kill(traffic.pid, signal.SIGKILL)
        senders.wait(5.0)
        with pytest.raises(BrokenPipeError, match="senders"):
            traffic.offer([1.0])


def test_a_network_that_cannot_be_built_says_why_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = shutil.which("ip")
    assert program is not None
    (tmp_path / "ip").symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NetworkError, match=r"no program `tc` \(iproute2\) on PATH"):
        EmulatedNetwork(LINE)
    assert ours(os.getpid()) == []
    monkeypatch.undo()
    with pytest.raises(NetworkError, match=r"tc class add dev s0 parent 1: classid 1:1 htb rate 0bit"):
        EmulatedNetwork(Layout(2, (0,), (LinkSpec(1, 0, 1e-9),), (1,)))
    assert ours(os.getpid()) == []
