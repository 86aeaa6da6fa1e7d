"""Live migration of virtual machines between the nodes of an Edge, by QEMU (pre-copy); all their state goes along.

The machine at the target is started to wait, and does not run by itself: the source's is only paused at the end of the
copy, and can go on until the target has been told to. Disks are shared: who runs has them, the other one lets go.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgewright.core.errors import InputError
from edgewright.core.files import replacing
from edgewright.drivers.host import HostError
from edgewright.drivers.linux.attempt import Mechanism
from edgewright.drivers.linux.edge import Edge
from edgewright.drivers.linux.guest import Guest, obtain
from edgewright.drivers.linux.journal import State
from edgewright.drivers.linux.moves import EdgeMigrator
from edgewright.drivers.linux.preflight import available_bytes
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.qmp import LONGEST_PATH, Monitor, MonitorError
from edgewright.drivers.linux.trees import isolate
from edgewright.drivers.migration import MoveError

START_TIMEOUT_S, COPY_TIMEOUT_S, PROBE_TIMEOUT_S = 120.0, 120.0, 10.0
POLL_S = 0.003
LEAST_MB = 128  # with less the guest cannot unpack itself
ROUNDS = 12  # of pre-copy, at most
ENOUGH_BYTES = 2 << 20  # left to copy, for the freeze to come
FASTEST = 10 << 30  # bytes/s
OWN_BYTES = 64 << 20  # of QEMU itself
DRIVE = "-drive"
ENDED = ("completed", "failed", "cancelled", "none")


class QemuMigrator(EdgeMigrator):
    """Of virtual machines. Raises QemuMissing, or GuestMissing where there is no guest.

    `accelerator`: tcg (emulation) or kvm; by itself, kvm where a guest boots by it.
    """

    def __init__(self, edge: Edge, folder: Path, guest: Guest | None = None, accelerator: str = "") -> None:
        if edge.hosts:
            raise InputError("edge", sorted(edge.hosts), "nodes of this host only")
        super().__init__(edge, folder)
        self._guest = guest or obtain()
        find()
        self._accelerator = accelerator or best_accelerator(self._guest)

    def start(
        self,
        name: str,
        command: Sequence[str],
        node: str,
        *,
        memory_mb: int = 128,
        files: Mapping[str, Path] | None = None,
        disks: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
        timeout_s: float = START_TIMEOUT_S,
    ) -> str:
        """Start a machine in a node that runs a command -> its address; `{address}` in the command becomes it.

        `files`: of this host, by their path in the machine, which has busybox and python3 besides. `disks`: raw images
        that all nodes see, in the machine /dev/vda and so on; they stay when it ends. With a `port`, wait until it
        accepts connections there. Raises HostError; nothing is left then.
        """
        if memory_mb < LEAST_MB:
            raise InputError("memory_mb", memory_mb, f"at least {LEAST_MB}")
        for disk in disks:
            if not disk.is_file():
                raise InputError("disks", str(disk), "raw images that are there")

        def command_at(address: str) -> list[str]:
            initramfs = self._initramfs(name)
            program = [word.replace("{address}", address) for word in command]
            self._guest.prepare(initramfs, address, program, files or {}, environment or {})
            drives = [f"file={_in_option(disk.absolute())},format=raw,if=virtio" for disk in disks]
            words = machine(self._guest, initramfs, memory_mb, self._accelerator)
            return [*words, *(word for drive in drives for word in (DRIVE, drive))]

        return self._start(name, command_at, node, lambda state: self._launch(state, node), port, timeout_s)

    def _mechanism(self, state: State, target: str, lock: int) -> Mechanism:
        return _PreCopy(self, state, target)

    def _obstacles(self, state: State, target: str) -> list[str]:
        found = []
        if not self.edge.is_there(target):
            found.append(f"the network namespace of {target} is gone")
        elif (address := self.edge.address(state.number)) in self.edge.addresses(target):
            found.append(f"the address {address} is taken at {target}")
        needed = _memory_bytes(state) + OWN_BYTES
        if (available := available_bytes()) < needed:
            found.append(f"needs {needed / 1e6:.0f} MB of memory meanwhile, {available / 1e6:.0f} MB are available")
        try:
            with self._monitor(state, state.node, state.process) as source:
                if (status := source.execute("query-status")["status"]) != "running":
                    found.append(f"the machine is {status}, not running")
        except MonitorError as error:
            found.append(f"its monitor: {error}")
        return found

    def _attach(self, state: State, node: str) -> None:
        self.edge.connect(self.edge.address(state.number), node, _tap(state), _mac(state))

    def _detach(self, state: State, node: str) -> None:
        self.edge.disconnect(self.edge.address(state.number), node, _tap(state))

    def _go_on(self, state: State, instance: Process, node: str) -> None:
        with self._monitor(state, node, instance) as monitor:
            deadline = time.monotonic() + COPY_TIMEOUT_S
            while instance == state.process and monitor.execute("query-migrate").get("status", "none") not in ENDED:
                monitor.execute("migrate_cancel")
                if time.monotonic() > deadline:
                    raise HostError(state.name, f"its migration does not end within {COPY_TIMEOUT_S:g} s")
                time.sleep(POLL_S)
            monitor.execute("cont")

    def _may_go_back(self, state: State) -> bool:
        return DRIVE not in state.command  # else the copy may have written to a disk of which the source has a cache

    def _remove(self, state: State, node: str) -> None:
        super()._remove(state, node)
        for pattern in ("initramfs", "copy", "*.qmp", "*.log"):
            for file in self._journal.folder.glob(f"{state.name}.{pattern}"):
                file.unlink(missing_ok=True)

    # Inside

    def _initramfs(self, name: str) -> Path:
        return self._journal.folder / f"{name}.initramfs"

    def _socket(self, name: str, node: str) -> Path:
        return self._journal.folder / f"{name}.{node}.qmp"

    def _log(self, name: str, node: str) -> Path:
        """What QEMU says, and the machine's kernel."""
        return self._journal.folder / f"{name}.{node}.log"

    def _last_words(self, state: State, node: str) -> str:
        log = self._log(state.name, node)
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        told = [line for line in lines if "panic" in line.lower() or "qemu" in line] or lines
        return told[0].strip() if told else ""

    def _monitor(self, state: State, node: str, instance: Process) -> Monitor:
        return Monitor(self._socket(state.name, node), instance)

    def _launch(self, state: State, node: str, *options: str) -> Process:
        """Raises RuntimeError with QEMU's own reason."""
        log, socket = self._log(state.name, node), self._socket(state.name, node)
        if len(os.fsencode(socket)) > LONGEST_PATH:
            raise RuntimeError(f"{socket}: no socket's path is longer than {LONGEST_PATH} bytes")
        socket.unlink(missing_ok=True)
        device = f"virtio-net-pci,netdev=net,mac={_mac(state)}"
        words = [*state.command, "-netdev", f"tap,id=net,ifname={_tap(state)},script=no,downscript=no"]
        words += ["-chardev", f"file,id=log,path={_in_option(log)},append=on", "-serial", "chardev:log"]
        words += ["-device", device, "-qmp", f"unix:{_in_option(socket)},server=on,wait=off", *options]
        logged = ("sh", "-c", 'exec "$@" 2>"$0"', str(log), *words)
        process = isolate(self.edge.namespace(node), logged, self._marks(state.name))
        try:
            with self._monitor(state, node, process):
                return process
        except MonitorError as error:
            said = self._last_words(state, node)
            raise RuntimeError(said or str(error)) from None


class _PreCopy(Mechanism):
    def __init__(self, owner: QemuMigrator, state: State, target: str) -> None:
        self._owner, self._edge, self._state, self._target = owner, owner.edge, state, target
        self._address = owner.edge.address(state.number)
        self._stack = contextlib.ExitStack()
        self._held_s: float | None = None

    def pre_copy(self) -> None:
        channel = f"unix:{self._owner._journal.folder / f'{self._state.name}.copy'}"
        try:
            self._copy = self._owner._launch(self._state, self._target, "-S", "-incoming", "defer")
        except RuntimeError as error:
            raise MoveError(str(error)) from None
        owner, state = self._owner, self._state
        self._there = self._stack.enter_context(owner._monitor(state, self._target, self._copy))
        self._source = self._stack.enter_context(owner._monitor(state, state.node, state.process))
        self._edge.prepare_hold(self._address, self._target)
        # Disks are its own from `cont` on, not before.
        late = {"capability": "late-block-activate", "state": True}
        self._there.execute("migrate-set-capabilities", capabilities=[late])
        self._there.execute("migrate-incoming", uri=channel)
        self._source.execute("migrate-set-capabilities", capabilities=[{"capability": "auto-converge", "state": True}])
        # The limit lets no copy end by itself: requests are to wait before the source is paused.
        self._source.execute("migrate-set-parameters", max_bandwidth=FASTEST, downtime_limit=0)
        self._source.execute("migrate", uri=channel)
        deadline = time.monotonic() + COPY_TIMEOUT_S
        while (seen := self._progress())["status"] != "completed" and time.monotonic() < deadline:
            memory = seen.get("ram", {"dirty-sync-count": 0, "remaining": FASTEST})
            rounds = memory["dirty-sync-count"]
            if rounds > ROUNDS or (rounds > 1 and memory["remaining"] < ENOUGH_BYTES):
                break
            time.sleep(POLL_S)

    def copy(self) -> None:
        self._held_s = time.time()
        self._edge.hold_softly(self._address, self._target, self._state.node)
        for _ in range(2):  # one turn of its loop, in which it reads what has reached it before
            self._source.execute("query-status")
        self._source.execute("stop")
        self._source.execute("migrate-set-parameters", downtime_limit=1000 * int(COPY_TIMEOUT_S))
        deadline = time.monotonic() + COPY_TIMEOUT_S
        while (state := self._progress())["status"] != "completed":
            if time.monotonic() > deadline:
                raise MoveError(f"the copy does not end within {COPY_TIMEOUT_S:g} s")
            time.sleep(POLL_S)
        self.image_bytes = int(state["ram"]["transferred"])

    def restore(self) -> Process:
        deadline = time.monotonic() + COPY_TIMEOUT_S
        while (status := self._there.execute("query-status")["status"]) == "inmigrate":
            if time.monotonic() > deadline:
                raise MoveError(f"the target has not built the machine within {COPY_TIMEOUT_S:g} s")
            time.sleep(POLL_S)
        if status not in ("paused", "prelaunch"):
            raise MoveError(f"the machine at {self._target} is {status}")
        self._stack.close()
        return self._copy

    def held_s(self) -> float | None:
        return self._held_s

    def give_up(self) -> None:
        self._stack.close()

    def _progress(self) -> dict[str, Any]:
        state: dict[str, Any] = self._source.execute("query-migrate")
        if state.setdefault("status", "none") in ("failed", "cancelled"):
            raise MoveError(f"migrate: {state.get('error-desc', state['status'])}")
        return state


class QemuMissing(Exception):
    """Why there is no QEMU that would do."""


def find() -> str:
    name = f"qemu-system-{platform.machine()}"
    if (path := shutil.which(name)) is None:
        raise QemuMissing(f"no program `{name}` on PATH")
    return path


def best_accelerator(guest: Guest) -> str:
    """kvm where a guest boots by it, and ends; a /dev/kvm that opens proves nothing. Tried once a host's start."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = guest.folder / "accelerator"
    if known.exists() and known.read_text().startswith(f"{started} "):
        return known.read_text().split()[1]
    with tempfile.TemporaryDirectory(prefix="edgewright-") as folder:
        initramfs = Path(folder) / "initramfs"
        guest.prepare(initramfs, "127.0.0.2", ["/bin/busybox", "poweroff", "-f"], {}, {})
        try:
            booted = subprocess.run(machine(guest, initramfs, 128, "kvm"), capture_output=True, timeout=PROBE_TIMEOUT_S)
            found = "tcg" if booted.returncode else "kvm"
        except subprocess.TimeoutExpired:
            found = "tcg"
    with replacing(known) as fresh:
        fresh.write_text(f"{started} {found}\n")
    return found


def machine(guest: Guest, initramfs: Path, memory_mb: int, accelerator: str) -> list[str]:
    """Command of a machine that has neither network nor monitor yet."""
    words = [find(), "-machine", f"pc,accel={accelerator}", "-m", str(memory_mb), "-nodefaults", "-no-user-config"]
    words += ["-no-reboot", "-display", "none", "-kernel", str(guest.kernel), "-initrd", str(initramfs)]
    return [*words, "-append", "quiet panic=-1 console=ttyS0"]


def _in_option(path: Path) -> str:
    """QEMU's options end at a comma; two are one."""
    return str(path).replace(",", ",,")


def _tap(state: State) -> str:
    return f"v{state.number}"


def _mac(state: State) -> str:
    """Locally administered."""
    return f"02:00:01:00:{state.number // 256:02x}:{state.number % 256:02x}"


def _memory_bytes(state: State) -> int:
    return int(state.command[state.command.index("-m") + 1]) << 20
