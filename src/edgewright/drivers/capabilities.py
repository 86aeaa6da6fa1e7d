"""What this host can do for real, found by doing the smallest real thing and undoing it; and why not, exactly."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 5.0
SCHED_NORMAL, SCHED_DEADLINE = 0, 6
SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}  # syscall numbers
CLONE_NEWNET = 0x40000000
ECHO_PORT = 7
ECHO = f"""
import os, socket
listening = socket.create_server((os.environ["EDGEWRIGHT_ADDRESS"], {ECHO_PORT}))
while True:
    connection = listening.accept()[0]
    while data := connection.recv(1):
        connection.send(data)
"""
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@dataclass(frozen=True)
class Capability:
    """`reason`: where it is available, what was found; where not, why not (errno text, missing program)."""

    name: str
    title: str
    available: bool
    reason: str


class Missing(Exception):
    """Why a capability is not there."""


def probe() -> list[Capability]:
    """Try everything, in seconds; nothing is left behind."""
    return [_try(name, title, test) for name, (title, test) in PROBES.items()]


def probe_one(name: str) -> Capability:
    title, test = PROBES[name]
    return _try(name, title, test)


def _try(name: str, title: str, test: Callable[[], str]) -> Capability:
    try:
        return Capability(name, title, True, test())
    except Missing as missing:
        return Capability(name, title, False, str(missing))
    except subprocess.TimeoutExpired as error:
        return Capability(name, title, False, f"no answer within {error.timeout:g} s")
    except OSError as error:
        reason = f"{error.filename}: {_errno(error.errno)}" if error.filename else _errno(error.errno)
        return Capability(name, title, False, reason)


def _cgroup(controller: str) -> str:
    from edgewright.drivers.linux.cgroups import Unavailable, hierarchies, make_parent

    found = hierarchies()
    try:
        parent = make_parent(controller, f"edgewright-doctor-{os.getpid()}", found)
    except Unavailable as error:
        raise Missing(str(error)) from None
    parent.rmdir()
    return f"cgroup v{found[controller].version}, {parent.parent}"


def _storage() -> str:
    from edgewright.drivers.linux.storage import may_grow_mounted, why_not

    if reason := why_not(Path(tempfile.gettempdir())):
        raise Missing(reason)
    how = "under running services" if may_grow_mounted() else "only while no service runs: CAP_SYS_RESOURCE is missing"
    return f"an ext4 on a loop device was made and removed; it grows {how}"


def _deadline() -> str:
    number = SCHED_SETATTR.get(platform.machine())
    if number is None:
        raise Missing(f"the sched_setattr number of {platform.machine()} is not known")
    libc = ctypes.CDLL(None, use_errno=True)
    child = _sleeper()
    try:
        # struct sched_attr (sched/types.h): 1 ms in every 100 ms, then back to the normal policy.
        for policy, times_ns in ((SCHED_DEADLINE, (1_000_000, 100_000_000, 100_000_000)), (SCHED_NORMAL, (0, 0, 0))):
            attributes = ctypes.create_string_buffer(struct.pack("=IIQiIQQQ", 48, policy, 0, 0, 0, *times_ns))
            if libc.syscall(number, child.pid, attributes, 0) != 0:
                raise Missing(f"sched_setattr: {_errno(ctypes.get_errno())}")
    finally:
        _end(child)
    return "1 ms in 100 ms was granted to a child"


def _tracefs() -> str:
    mounted = [
        Path(fields[1])
        for fields in (line.split() for line in Path("/proc/mounts").read_text().splitlines())
        if fields[2] == "tracefs"
    ]
    if not mounted:
        known = "tracefs" in Path("/proc/filesystems").read_text()
        mount = "tracefs is not mounted: mount -t tracefs nodev /sys/kernel/tracing"
        raise Missing(mount if known else "the kernel has no tracefs")
    instance = mounted[0] / "instances" / f"edgewright-doctor-{os.getpid()}"
    instance.mkdir()
    try:
        (instance / "tracing_on").write_text("0")
    finally:
        instance.rmdir()
    return f"{mounted[0]}/instances"


def _network_namespace() -> str:
    code = (
        "import ctypes, os, sys; libc = ctypes.CDLL(None, use_errno=True); "
        f"sys.exit(ctypes.get_errno() if libc.unshare({CLONE_NEWNET}) else 0)"
    )
    number = subprocess.run([sys.executable, "-I", "-S", "-c", code], timeout=TIMEOUT_S, check=False).returncode
    if number:
        raise Missing(f"unshare(CLONE_NEWNET): {_errno(number)}")
    if shutil.which("ip") is None:
        raise Missing("no program `ip` (iproute2) on PATH")
    return "made and left one in a child; iproute2 is there"


def _network_emulation() -> str:
    from edgewright.drivers.forwarding import Layout, LinkSpec, RouteError
    from edgewright.drivers.linux.namespaces import NetworkError
    from edgewright.drivers.linux.network import EmulatedNetwork

    _network_namespace()
    try:
        with EmulatedNetwork(Layout(2, (0,), (LinkSpec(1, 0, 10.0),), (1,))) as network:
            network.route(0, [0])
            network.counters()
    except (NetworkError, RouteError) as error:
        raise Missing(str(error)) from None
    return "two nodes, a link shaped to 10 Mb/s and a flow's path over it were made and removed"


def _criu() -> str:
    """`criu check` is no proof: it says nothing of sockets."""
    from edgewright.drivers.host import HostError
    from edgewright.drivers.linux.criu import CriuMissing, find
    from edgewright.drivers.linux.criu_migrator import CriuMigrator
    from edgewright.drivers.linux.edge import CLIENT, EdgeNetwork
    from edgewright.drivers.linux.namespaces import NetworkError, inside

    try:
        criu = find()
    except CriuMissing as error:
        raise Missing(str(error)) from None
    _network_namespace()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="edgewright-doctor-") as folder,
            EdgeNetwork(("a", "b")) as network,
            contextlib.closing(CriuMigrator(network.edge, Path(folder), criu)) as migrator,
        ):
            address = migrator.start("echo", [sys.executable, "-I", "-S", "-c", ECHO], "a", port=ECHO_PORT)
            client = inside(
                network.edge.namespace(CLIENT),
                lambda: socket.create_connection((address, ECHO_PORT), timeout=TIMEOUT_S),
            )
            with client:
                for moves in range(2):
                    client.send(b"?")
                    if client.recv(1) != b"?":
                        raise Missing("the connection did not survive")
                    if not moves and (done := migrator.migrate("echo", "b")).status != "done":
                        raise Missing(done.reason)
    except (HostError, NetworkError) as error:
        raise Missing(str(error)) from None
    version = ".".join(map(str, criu.version))
    return f"{criu.command[-1]}, {version}: a TCP server and its connection moved, {done.frozen_s:.2f} s frozen"


def _sshd() -> str:
    _program("ssh")
    path = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        raise Missing("no program `sshd` on PATH or in /usr/sbin")
    return path


def _qemu() -> str:
    from edgewright.drivers.linux.guest import GuestMissing, find
    from edgewright.drivers.linux.qemu_migrator import best_accelerator

    path = _program(f"qemu-system-{platform.machine()}")
    try:
        accelerator = best_accelerator(find())
    except GuestMissing as error:
        raise Missing(str(error)) from None
    return f"{_version(path)}, {'by KVM' if accelerator == 'kvm' else 'no guest boots by KVM: emulated, slow'}"


def _kubernetes() -> str:
    """Read, not called: the cluster may be far away."""
    account = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    if account.exists() and "KUBERNETES_SERVICE_HOST" in os.environ:
        return f"service account in {account.parent}"
    listed = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    for path in map(Path, listed.split(os.pathsep)):
        if path.is_file():
            path.read_bytes()
            return str(path)
    raise Missing(f"no kubeconfig at {listed}, and not inside a cluster")


def _chromium() -> str:
    for name in CHROMIUM:
        if path := shutil.which(name):
            return _version(path)
    raise Missing(f"none of {', '.join(CHROMIUM)} on PATH")


def _prometheus() -> str:
    return _version(_program("prometheus"))


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise Missing(f"no program `{name}` on PATH")
    return path


def _version(path: str) -> str:
    with tempfile.TemporaryDirectory() as home:  # some programs write to HOME even when asked for their version
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env={"PATH": os.environ.get("PATH", ""), "HOME": home},
        )
    lines = (done.stdout or done.stderr).strip().splitlines()
    if done.returncode or not lines:
        raise Missing(f"{path} --version: {lines[-1] if lines else f'exit status {done.returncode}'}")
    return f"{path}, {lines[0]}"


def _sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"], stdin=subprocess.DEVNULL)


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGKILL)
    child.wait()


def _errno(number: int | None) -> str:
    return f"[Errno {number}] {errno.errorcode.get(number or 0, 'unknown')}, {os.strerror(number or 0)}"


PROBES: dict[str, tuple[str, Callable[[], str]]] = {
    "cgroup-cpu": ("CPU limits (cgroup quota)", lambda: _cgroup("cpu")),
    "cgroup-memory": ("Memory limits (cgroup)", lambda: _cgroup("memory")),
    "storage-quota": ("Storage quotas (ext4 on a loop device)", _storage),
    "sched-deadline": ("Real-time reservations (SCHED_DEADLINE)", _deadline),
    "tracefs": ("Kernel tracing (tracefs instances)", _tracefs),
    "network-namespace": ("Network namespaces", _network_namespace),
    "network-emulation": ("Emulated backhaul (namespaces, ifb, htb)", _network_emulation),
    "criu": ("Live migration of processes (CRIU)", _criu),
    "sshd": ("Tests of live migration between hosts (sshd)", _sshd),
    "qemu": ("Virtual machines (QEMU)", _qemu),
    "prometheus": ("Prometheus server", _prometheus),
    "kubernetes": ("Kubernetes configuration", _kubernetes),
    "chromium": ("Browser tests (Chromium)", _chromium),
}
