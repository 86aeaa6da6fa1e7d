"""Network chunks: apart from each other and the host, one with their peers, within their rate, whole after a crash."""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from driver_programs import IDLE, PYTHON
from wires import PORT, goodput_mbps, reaches

from edgewright.core.errors import CapacityError, InputError
from edgewright.drivers.chunks import NetworkChunk, NetworkChunks, Underlay
from edgewright.drivers.host import HostError, Limits, ServiceSpec
from edgewright.drivers.linux import namespaces
from edgewright.drivers.linux.namespaces import FOLDER, inside
from edgewright.drivers.linux.network_chunks import LinuxNetworkChunks
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.services import LinuxHost

pytestmark = pytest.mark.real
SUBNET = "10.20.0.0/24"
OWNER = f"test-network-chunks-{os.getpid()}"
SERVER = """
import http.server, socketserver, sys
socketserver.TCPServer.allow_reuse_address = True
with socketserver.TCPServer((sys.argv[1], 8080), http.server.SimpleHTTPRequestHandler) as server:
    server.serve_forever()
"""


@pytest.fixture
def chunks(require: Callable[..., None]) -> Iterator[NetworkChunks]:
    require("network-emulation")
    before = host()
    made = LinuxNetworkChunks(OWNER)
    try:
        yield made
    finally:
        made.reconcile([])
        assert ours() == []
        assert host() == before


@pytest.fixture
def chunk(chunks: NetworkChunks) -> NetworkChunk:
    return chunks.make("one", 100, Underlay(), None, SUBNET)


def shown(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def host() -> str:
    return shown("ip", "-br", "link") + shown("ip", "route", "show", "table", "all")


def ours(owner: str = OWNER) -> list[str]:
    return sorted(entry.name for entry in FOLDER.glob(f"{LinuxNetworkChunks(owner)._prefix}*"))


def free_ports() -> tuple[int, int]:
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def test_instances_reach_each_other_and_nothing_else(chunks: NetworkChunks, chunk: NetworkChunk) -> None:
    one, two = chunk.attach("one"), chunk.attach("two")
    other = chunks.make("other", 100, Underlay(), None, SUBNET)
    third = other.attach("three")
    assert (one.address, two.address, third.address) == ("10.20.0.2", "10.20.0.3", "10.20.0.2")
    assert chunk.attach("one") == one
    assert reaches(one.namespace, two.namespace, two.address)
    assert reaches(chunk.namespace, two.namespace, two.address)
    assert reaches(two.namespace, chunk.namespace, chunk.address)
    assert not reaches(third.namespace, two.namespace, two.address)
    with pytest.raises(OSError, match="unreachable"):  # at once, where an unanswered packet would be waited for
        inside(one.namespace, lambda: socket.create_connection(("192.0.2.1", 53), timeout=1))
    assert chunk.uplink == "none"

    chunk.detach("two")
    chunk.detach("two")
    assert chunk.attached() == {"one"}
    assert not (FOLDER / two.namespace).exists()
    three = chunk.attach("three")
    assert three.address == two.address
    assert reaches(chunk.namespace, three.namespace, three.address)  # though its neighbours knew another there
    assert reaches(one.namespace, three.namespace, three.address)


@pytest.mark.parametrize("same_tag", [True, False])
def test_parts_of_a_chunk_on_two_addresses_talk_at_layer_2(chunks: NetworkChunks, same_tag: bool) -> None:
    ports = free_ports()
    here = Underlay("127.0.0.1", (f"127.0.0.2:{ports[1]}",), ports[0])
    there = Underlay("127.0.0.2", (f"127.0.0.1:{ports[0]}",), ports[1])
    one = chunks.make("here", 100, here, 50.0, "10.20.0.0/24")
    two = chunks.make("there", 100 if same_tag else 101, there, None, "10.20.0.128/24")
    a, b = one.attach("a"), two.attach("b")
    assert (one.uplink, b.address) == ("vxlan", "10.20.0.130")
    assert reaches(a.namespace, b.namespace, b.address) == same_tag
    assert reaches(b.namespace, a.namespace, a.address) == same_tag
    if same_tag:
        neighbours = shown("ip", "-n", a.namespace, "neigh", "show", b.address)
        mac = re.search(r"lladdr (\S+)", neighbours)
        assert mac
        assert mac[1] in shown("ip", "-n", b.namespace, "link", "show", b.device)  # no router in between
        assert 40 < goodput_mbps([(a.namespace, b.namespace, b.address)]) < 50
        assert 40 < goodput_mbps([(b.namespace, a.namespace, a.address)]) < 50


def test_a_removed_part_leaves_no_tunnel_even_while_something_runs_inside(chunks: NetworkChunks) -> None:
    ports = free_ports()
    underlay = Underlay("127.0.0.1", (f"127.0.0.2:{ports[1]}",), ports[0])
    chunk = chunks.make("one", 100, underlay, None, SUBNET)
    held = inside(chunk.namespace, lambda: socket.create_server((chunk.address, PORT)))
    with held:
        chunk.close()
        chunk.close()
        assert ours() == []
        chunks.make("one", 100, underlay, None, SUBNET)
        with pytest.raises(HostError, match="already exists"):  # the tag is taken at this port
            chunks.make("two", 100, underlay, None, SUBNET)
        assert len(ours()) == 1


def test_a_device_without_802_1q_falls_back_to_the_tunnel(chunks: NetworkChunks) -> None:
    """The loopback carries no VLANs, whatever the kernel."""
    port, remote = free_ports()
    chunk = chunks.make("one", 100, Underlay("127.0.0.1", (f"127.0.0.2:{remote}",), port, "lo"), None, SUBNET)
    assert chunk.uplink == "vxlan"
    with pytest.raises(HostError, match="vlan"):
        chunks.make("two", 101, Underlay(device="lo"), None, SUBNET)
    assert len(ours()) == 1


def test_the_rate_holds_through_the_proxys_namespace_both_ways(chunk: NetworkChunk) -> None:
    wire = chunk.attach("one")
    out, back = (chunk.namespace, wire.namespace, wire.address), (wire.namespace, chunk.namespace, chunk.address)
    chunk.set_rate(20.0)
    assert chunk.rate_mbps == 20.0
    assert goodput_mbps([out]) == pytest.approx(20 * 0.955, rel=0.1)  # 1398 bytes of payload in 1464 of a frame
    assert goodput_mbps([back]) == pytest.approx(20 * 0.955, rel=0.1)
    chunk.set_rate(1000.0)
    assert 600 < goodput_mbps([out]) < 1000
    assert 600 < goodput_mbps([back]) < 1000
    chunk.set_rate(None)
    assert goodput_mbps([out], 0.5) > 1000


def test_the_rate_is_the_total_of_all_instances(chunk: NetworkChunk) -> None:
    wires = [chunk.attach(name) for name in ("one", "two", "three")]
    chunk.set_rate(20.0)
    pairs = [(a.namespace, b.namespace, b.address) for a, b in itertools.pairwise((*wires, wires[0]))]
    assert goodput_mbps(pairs) == pytest.approx(20 * 0.955, rel=0.15)  # not 60


def test_a_refused_rate_leaves_the_old_one(chunk: NetworkChunk) -> None:
    chunk.set_rate(20.0)
    shown("ip", "-n", chunk.namespace, "link", "del", "in0")
    with pytest.raises(HostError, match="in0"):
        chunk.set_rate(50.0)
    assert chunk.rate_mbps == 20.0
    assert "rate 20Mbit" in shown("tc", "-n", chunk.namespace, "qdisc", "show", "dev", "br0")


def test_the_subnet_has_an_end(chunks: NetworkChunks) -> None:
    chunk = chunks.make("one", 100, Underlay(), None, "10.20.0.0/29")
    addresses = [chunk.attach(f"i{i}").address for i in range(5)]
    assert addresses == [f"10.20.0.{i}" for i in range(2, 7)]
    with pytest.raises(CapacityError):
        chunk.attach("more")
    assert len(chunk.attached()) == 5
    chunk.detach("i2")
    assert chunk.attach("more").address == "10.20.0.4"


@pytest.mark.parametrize(
    ("field", "do"),
    [
        ("id", lambda chunks: chunks.make("a_b", 1, Underlay(), None, SUBNET)),
        ("tag", lambda chunks: chunks.make("a", 0, Underlay(), None, SUBNET)),
        ("tag", lambda chunks: chunks.make("a", 4095, Underlay(device="lo"), None, SUBNET)),
        ("rate_mbps", lambda chunks: chunks.make("a", 1, Underlay(), float("nan"), SUBNET)),
        ("rate_mbps", lambda chunks: chunks.make("a", 1, Underlay(), 0.0, SUBNET)),
        ("subnet", lambda chunks: chunks.make("a", 1, Underlay(), None, "10.0.0.0/31")),
        ("subnet", lambda chunks: chunks.make("a", 1, Underlay(), None, "10.0.0.0/24 dev lo")),
        ("remotes", lambda chunks: chunks.make("a", 1, Underlay(remotes=("127.0.0.2",)), None, SUBNET)),
        ("local", lambda _: Underlay("here")),
        ("remotes", lambda _: Underlay(remotes=("127.0.0.2 dev lo",))),
        ("port", lambda _: Underlay(remotes=("127.0.0.2:x",))),
        ("port", lambda _: Underlay(port=70_000)),
        ("device", lambda _: Underlay(device="eth0\nlink del lo")),
        ("name", lambda chunks: chunks.make("a", 1, Underlay(), None, SUBNET).attach("a\nb")),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(
    chunks: NetworkChunks, field: str, do: Callable[[NetworkChunks], object]
) -> None:
    with pytest.raises(InputError) as caught:
        do(chunks)
    assert caught.value.field == field
    assert len(ours()) == (field == "name")


def test_a_later_orchestrator_takes_over_what_is_whole_and_mends_the_rest(chunks: NetworkChunks) -> None:
    chunk = chunks.make("one", 100, Underlay(), 20.0, SUBNET)
    wire, prefix = chunk.attach("kept"), chunk.namespace
    with inside(wire.namespace, lambda: socket.create_server((wire.address, PORT))):
        # Wires that a kill cut short: no mount, no port, no alias.
        (FOLDER / f"{prefix}_unmounted").touch()
        shown("ip", "netns", "add", f"{prefix}_no-port")
        shown("ip", "netns", "add", f"{prefix}_no-alias")
        peer = ("peer", "name", "eth0", "netns", f"{prefix}_no-alias")
        shown("ip", "-n", prefix, "link", "add", "name", "p1", "type", "veth", *peer)

        later = LinuxNetworkChunks(OWNER)
        adopted = later.make("one", 100, Underlay(), 50.0, SUBNET)
        assert ours() == [prefix, wire.namespace]
        assert adopted.attach("kept") == wire
        assert adopted.attach("no-alias").address == "10.20.0.3"
        inside(prefix, lambda: socket.create_connection((wire.address, PORT), timeout=1)).close()
        assert "rate 50Mbit" in shown("tc", "-n", prefix, "qdisc", "show", "dev", "br0")
        with pytest.raises(HostError, match="another tag"):
            later.make("one", 101, Underlay(), 50.0, SUBNET)
        assert adopted.attach("kept") == wire

        # A chunk cut short is nothing.
        shown("ip", "-n", prefix, "link", "set", "br0", "alias", "")
        assert later.make("one", 101, Underlay(), 50.0, SUBNET).attached() == set()
        assert ours() == [prefix]
        (FOLDER / f"{later._prefix}stale").touch()
        later.make("stale", 1, Underlay(), None, SUBNET)


def test_each_owner_reconciles_its_own(chunks: NetworkChunks, chunk: NetworkChunk) -> None:
    other = LinuxNetworkChunks(f"{OWNER}-other")
    try:
        other.make("one", 100, Underlay(), None, SUBNET).attach("a")
        chunk.attach("a")
        chunks.make("two", 100, Underlay(), None, SUBNET)
        namespaces.reconcile()
        assert chunks.reconcile(["two"]) == ["one"]
        assert len(ours()) == 1
        assert len(ours(f"{OWNER}-other")) == 2
    finally:
        assert other.reconcile([]) == ["one"]
    assert ours(f"{OWNER}-other") == []


MAKES = f"""
import sys
from edgewright.drivers.chunks import Underlay
from edgewright.drivers.linux.network_chunks import LinuxNetworkChunks
chunks = LinuxNetworkChunks({OWNER!r})
underlay = Underlay("127.0.0.1", (f"127.0.0.2:{{sys.argv[2]}}",), int(sys.argv[1]))
print("ready", flush=True)
while True:
    chunk = chunks.make("one", 100, underlay, 20.0, {SUBNET!r})
    chunk.attach("a")
    chunk.attach("b")
    chunk.detach("a")
    chunk.close()
"""


@pytest.mark.parametrize("then", ["make", "reconcile"])
def test_a_kill_at_any_moment_leaves_a_whole_chunk_or_none(chunks: NetworkChunks, then: str) -> None:
    (port, remote), chance, before = free_ports(), random.Random(0), host()
    underlay = Underlay("127.0.0.1", (f"127.0.0.2:{remote}",), port)
    for _ in range(6):
        program = subprocess.Popen([sys.executable, "-c", MAKES, str(port), str(remote)], stdout=subprocess.PIPE)
        try:
            assert program.stdout
            assert program.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0, 0.5))
        finally:
            program.kill()
            program.communicate()
        time.sleep(0.1)  # a command of its that was under way ends
        assert host() == before
        if then == "make":
            chunk = chunks.make("one", 100, underlay, 20.0, SUBNET)
            wires = [chunk.attach("a"), chunk.attach("b")]
            assert reaches(wires[0].namespace, wires[1].namespace, wires[1].address)
            assert reaches(chunk.namespace, wires[0].namespace, wires[0].address)
            assert len(ours()) == 3
            chunk.close()
        else:
            chunks.reconcile([])
        assert ours() == []


@pytest.fixture
def state(tmp_path: Path, require: Callable[..., None]) -> Path:
    require("cgroup-cpu", "cgroup-memory")
    return tmp_path


def test_services_run_and_are_asked_inside(chunk: NetworkChunk, state: Path) -> None:
    one, two = chunk.attach("one"), chunk.attach("two")
    with LinuxHost(state, OWNER, grace_s=0.5) as services:
        for wire, name in ((one, "one"), (two, "two")):  # one port, two services
            url = f"http://{wire.address}:8080/"
            spec = ServiceSpec(name, (*PYTHON, SERVER, wire.address), health_url=url, namespace=wire.namespace)
            services.start(spec, Limits(0.5))
        inside(chunk.namespace, lambda: socket.create_connection((two.address, 8080), timeout=1)).close()
        with pytest.raises(HostError, match="no-such"):
            services.start(ServiceSpec("three", IDLE, namespace="no-such"), Limits(0.5))
        assert services.services == ("one", "two")
        pid = services.restart("one")
        assert Process(pid, 0).is_in_network(FOLDER / one.namespace)
    with pytest.raises(InputError, match="namespace"):
        ServiceSpec("a", IDLE, namespace="../1/ns/net")


STARTS = f"""
import sys
from pathlib import Path
from edgewright.drivers.host import Limits, ServiceSpec
from edgewright.drivers.linux.services import LinuxHost
host = LinuxHost(Path(sys.argv[1]), {OWNER!r}, grace_s=0.5)
print(host.start(ServiceSpec("one", {IDLE!r}, namespace=sys.argv[2]), Limits(0.5)), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("made_anew", [False, True])
def test_a_service_is_adopted_in_the_network_it_runs_in(chunk: NetworkChunk, state: Path, made_anew: bool) -> None:
    wire = chunk.attach("one")
    program = subprocess.Popen(
        [sys.executable, "-c", STARTS, str(state), wire.namespace], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert program.stdout
        pid = int(program.stdout.readline())
    finally:
        program.send_signal(signal.SIGKILL)
        program.communicate()
    if made_anew:  # under the same name, but the service hangs on no wire any more
        chunk.detach("one")
        chunk.attach("one")
    with LinuxHost(state, OWNER, grace_s=0.5) as services:
        assert not services.adopt(ServiceSpec("one", IDLE))
        assert services.adopt(ServiceSpec("one", IDLE, namespace=wire.namespace)) != made_anew
        assert [one.kind for one in services.reconcile([])] == ["ended"]
        assert Process.of(pid) is None
