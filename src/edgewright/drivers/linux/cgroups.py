"""Control groups of Linux: limits and counters of one service, cgroup v1 and v2 alike.

Kernel documentation: admin-guide/cgroup-v1/{cpuacct,memory}.rst, scheduler/sched-bwc.rst, admin-guide/cgroup-v2.rst.
Each controller is looked for where it really is: a v2 mount without the controller does not count.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Version = Literal[1, 2]
CONTROLLERS = ("cpu", "cpuacct", "memory")
DEFAULT_PERIOD_US = 10_000  # at the kernel's default of 100 ms response time is nearly a step in the quota
MINIMUM_QUOTA_US = 1_000  # kernel/sched/core.c: min_cfs_quota_period
MAXIMUM_PERIOD_US = 1_000_000
UNLIMITED_V1 = 1 << 62  # the kernel shows LONG_MAX rounded down to a page
_SMALL_LIMIT = {  # per controller, v1 and v2
    "cpu": (("cpu.cfs_quota_us", "1000"), ("cpu.max", "1000 10000")),
    "memory": (("memory.limit_in_bytes", "67108864"), ("memory.max", "67108864")),
}


class Refused(Exception):
    """A write that the kernel (or a rule of ours) refused; the text names the file and the reason."""


class Unavailable(Exception):
    """This host has no place where groups can be made; the text says why."""


@dataclass(frozen=True)
class Hierarchy:
    """One mounted tree of groups that has a controller we need."""

    controller: str
    version: Version
    mount: Path
    own: Path  # where this very process is, below the mount


def hierarchies(
    mountinfo: Path = Path("/proc/self/mountinfo"), own: Path = Path("/proc/self/cgroup")
) -> dict[str, Hierarchy]:
    """Where each of CONTROLLERS is; those that the host does not have are absent."""
    lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    paths = {name: path for _, names, path in lines for name in names.split(",")}  # v2 has the name ""
    found: dict[str, Hierarchy] = {}
    for line in mountinfo.read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, target = before.split()[3:5]
        kind, _, options = after.split()[:3]
        mount = Path(target.encode().decode("unicode_escape"))
        if kind == "cgroup":
            names = [name for name in options.split(",") if name in CONTROLLERS]
            for name in names:
                found[name] = Hierarchy(name, 1, mount, _below(mount, root, paths.get(name, "/")))
        elif kind == "cgroup2":
            have = _words(mount / "cgroup.controllers")
            for name in CONTROLLERS:
                # v2 counts CPU time in cpu.stat without any controller.
                if ("cpu" if name == "cpuacct" else name) in have:
                    found.setdefault(name, Hierarchy(name, 2, mount, _below(mount, root, paths.get("", "/"))))
    return found


@dataclass(frozen=True)
class Place:
    """The parent group of one instance of ours, in each hierarchy that we use."""

    cpu: Path
    cpu_version: Version
    cpuacct: Path
    memory: Path
    memory_version: Version

    @property
    def parents(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys((self.cpu, self.cpuacct, self.memory)))


def find_place(name: str, found: dict[str, Hierarchy] | None = None) -> Place:
    """Make the parent group `name` of an instance in every hierarchy that we need; a/b where the place a is there.

    Raises Unavailable with the exact reason; nothing is left then.
    """
    found = hierarchies() if found is None else found
    made: dict[str, Path] = {}
    try:
        for controller in CONTROLLERS:
            made[controller] = make_parent(controller, name, found)
    except Unavailable:
        for path in set(made.values()):
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
    return Place(made["cpu"], found["cpu"].version, made["cpuacct"], made["memory"], found["memory"].version)


def make_parent(controller: str, name: str, found: dict[str, Hierarchy]) -> Path:
    """Make group `name` where limits can really be set in groups below it: at the hierarchy's top, else below our own.

    Raises Unavailable with the exact reason.
    """
    if controller not in found:
        raise Unavailable(f"no cgroup hierarchy has the controller {controller!r}")
    hierarchy, reasons = found[controller], []
    for top in dict.fromkeys((hierarchy.mount, hierarchy.own)):
        parent, fresh = top / name, not (top / name).exists()
        try:
            if hierarchy.version == 2:
                _enable(top, controller)
            parent.mkdir(exist_ok=True)
            if hierarchy.version == 2:
                _enable(parent, controller)
            probe = parent / f"probe-{os.getpid()}"
            probe.mkdir(exist_ok=True)
            try:
                if controller in _SMALL_LIMIT:
                    file, value = _SMALL_LIMIT[controller][hierarchy.version - 1]
                    _write(probe / file, value)
            finally:
                probe.rmdir()
            return parent
        except (OSError, Refused) as error:
            reasons.append(f"{top}: {_reason(error) if isinstance(error, OSError) else error}")
            if fresh:
                with contextlib.suppress(OSError):
                    parent.rmdir()
    raise Unavailable(f"cgroup controller {controller!r}: " + "; ".join(reasons))


def _enable(group: Path, controller: str) -> None:
    name = "cpu" if controller == "cpuacct" else controller
    if name not in _words(group / "cgroup.subtree_control"):
        _write(group / "cgroup.subtree_control", f"+{name}")


@dataclass(frozen=True)
class Counters:
    """Cumulative since the group was made, apart from `memory_bytes`."""

    cpu_s: float
    throttled_s: float
    periods: int
    throttled_periods: int
    memory_bytes: int
    oom_kills: int


@dataclass(frozen=True)
class Group:
    """The group of one service: a directory in each hierarchy."""

    place: Place
    name: str

    @property
    def directories(self) -> tuple[Path, ...]:
        return tuple(parent / self.name for parent in self.place.parents)

    @property
    def _cpu(self) -> Path:
        return self.place.cpu / self.name

    @property
    def _memory(self) -> Path:
        return self.place.memory / self.name

    def create(self) -> None:
        for path in self.directories:
            path.mkdir(exist_ok=True)

    def remove(self, timeout_s: float = 5.0) -> None:
        """Remove the empty group; the kernel lets go of a dead process' memory a moment later."""
        deadline = time.monotonic() + timeout_s
        for path in self.directories:
            while True:
                try:
                    path.rmdir()
                except FileNotFoundError:
                    pass
                except OSError as error:
                    if error.errno == errno.EBUSY and time.monotonic() < deadline:
                        time.sleep(0.01)
                        continue
                    raise
                break

    def pids(self) -> set[int]:
        """Processes in any of the group's directories."""
        found: set[int] = set()
        for path in self.directories:
            with contextlib.suppress(FileNotFoundError):
                found.update(map(int, _words(path / "cgroup.procs")))
        return found

    def kill(self, timeout_s: float = 5.0) -> bool:
        """SIGKILL every process, new ones too, until none is left. False where some remain."""
        deadline = time.monotonic() + timeout_s
        while pids := self.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def cpu_limit(self) -> float | None:
        """Cores, None = unlimited. Raises OSError."""
        return _cpu_limit(self._cpu, self.place.cpu_version)

    def set_cpu_limit(self, cores: float | None, period_us: int = DEFAULT_PERIOD_US) -> None:
        """Limit to `cores` per period (sched-bwc); a quota below the kernel's minimum lengthens the period.

        Raises Refused and leaves the old limit in force.
        """
        quota_us, period_us = cpu_quota(cores, period_us)
        if self.place.cpu_version == 2:
            _write(self._cpu / "cpu.max", f"{'max' if quota_us < 0 else quota_us} {period_us}")
            return
        files = [(self._cpu / "cpu.cfs_period_us", period_us), (self._cpu / "cpu.cfs_quota_us", quota_us)]
        try:
            old = [_number(file) for file, _ in files]
        except OSError as error:
            raise Refused(f"cpu.cfs_quota_us: {_reason(error)}") from None
        # The smaller share comes first, so that no moment allows more than the larger of old and new.
        if period_us < old[0]:
            files.reverse()
            old.reverse()
        for index, (file, value) in enumerate(files):
            try:
                if value != old[index]:
                    _write(file, str(value))
            except Refused:
                for (written, _), before in zip(files[:index], old, strict=False):
                    _write(written, str(before))
                raise

    def memory_limit(self) -> int | None:
        """Bytes, None = unlimited. Raises OSError."""
        return _memory_limit(self._memory, self.place.memory_version)

    def set_memory_limit(self, limit_bytes: int | None) -> None:
        """Raises Refused (EBUSY where more is in use) and leaves the old limit in force."""
        if self.place.memory_version == 1:
            _write(self._memory / "memory.limit_in_bytes", "-1" if limit_bytes is None else str(limit_bytes))
            return
        if limit_bytes is not None:
            try:
                used = self._working_set()
            except OSError as error:
                raise Refused(f"memory.max: {_reason(error)}") from None
            if used > limit_bytes:  # v2 would not refuse: it would kill
                raise Refused(f"memory.max: [Errno {errno.EBUSY}] EBUSY, {used} bytes in use")
        _write(self._memory / "memory.max", "max" if limit_bytes is None else str(limit_bytes))

    def counters(self) -> Counters:
        """Raises OSError where the group is gone."""
        stat = _table(self._cpu / "cpu.stat")
        if self.place.cpu_version == 1:
            throttled_s = stat["throttled_time"] * 1e-9
            cpu_s = _number(self.place.cpuacct / self.name / "cpuacct.usage") * 1e-9
        else:
            throttled_s = stat["throttled_usec"] * 1e-6
            cpu_s = stat["usage_usec"] * 1e-6
        events = "memory.oom_control" if self.place.memory_version == 1 else "memory.events"
        return Counters(
            cpu_s,
            throttled_s,
            stat["nr_periods"],
            stat["nr_throttled"],
            self._working_set(),
            _table(self._memory / events).get("oom_kill", 0),
        )

    def _working_set(self) -> int:
        stat = _table(self._memory / "memory.stat")
        if self.place.memory_version == 1:
            return max(0, _number(self._memory / "memory.usage_in_bytes") - stat["total_inactive_file"])
        return max(0, _number(self._memory / "memory.current") - stat["inactive_file"])


def cpu_quota(cores: float | None, period_us: int = DEFAULT_PERIOD_US) -> tuple[int, int]:
    """-> quota_us (-1 = unlimited), period_us. Raises Refused for less than the kernel can enforce."""
    if cores is None:
        return -1, period_us
    if cores * period_us < MINIMUM_QUOTA_US:
        period_us = math.ceil(MINIMUM_QUOTA_US / cores)
    if period_us > MAXIMUM_PERIOD_US:
        least = MINIMUM_QUOTA_US / MAXIMUM_PERIOD_US
        raise Refused(f"cpu quota: {cores:g} cores, the kernel enforces no less than {least:g}")
    return max(MINIMUM_QUOTA_US, round(cores * period_us)), period_us


def inside(place: Place, name: str) -> Place:
    """What the group of that name is to groups in it."""
    return replace(place, cpu=place.cpu / name, cpuacct=place.cpuacct / name, memory=place.memory / name)


def count_in_parents(place: Place) -> None:
    """Memory of groups below counts in ours too: version 2 and Linux from 5.11 on do so, else it takes effect in an
    empty parent group only. Raises Refused.
    """
    file = place.memory / "memory.use_hierarchy"
    if place.memory_version == 1 and file.exists() and not _number(file):
        _write(file, "1")


def groups_of(place: Place) -> set[str]:
    """Names of all groups under our parent."""
    return {path.name for parent in place.parents for path in _directories(parent)}


def remove_place(place: Place) -> None:
    """Remove the parent group where it is empty."""
    for path in place.parents:
        with contextlib.suppress(OSError):
            path.rmdir()


def enclosing_limits(place: Place) -> tuple[float | None, int | None]:
    """The tightest CPU (cores) and memory (bytes) limit of the groups that ours is in; None = no limit."""
    cpu_file = ("cpu.cfs_quota_us", "cpu.max")[place.cpu_version - 1]
    memory_file = ("memory.limit_in_bytes", "memory.max")[place.memory_version - 1]
    cpu = [_cpu_limit(path, place.cpu_version) for path in _upwards(place.cpu, cpu_file)]
    memory = [_memory_limit(path, place.memory_version) for path in _upwards(place.memory, memory_file)]
    return (
        min((limit for limit in cpu if limit is not None), default=None),
        min((limit for limit in memory if limit is not None), default=None),
    )


def _upwards(group: Path, file: str) -> Iterator[Path]:
    """The groups on the way up that have the file; the top of a hierarchy may not."""
    return (path for path in (group, *group.parents) if (path / file).exists())


def _cpu_limit(group: Path, version: Version) -> float | None:
    if version == 1:
        quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        return None if quota < 0 else quota / period
    maximum, period_text = _words(group / "cpu.max")
    return None if maximum == "max" else int(maximum) / int(period_text)


def _memory_limit(group: Path, version: Version) -> int | None:
    if version == 1:
        limit = _number(group / "memory.limit_in_bytes")
        return None if limit >= UNLIMITED_V1 else limit
    text = _words(group / "memory.max")[0]
    return None if text == "max" else int(text)


def _below(mount: Path, root: str, path: str) -> Path:
    relative = os.path.relpath(path, root)
    return mount if relative.startswith("..") else (mount / relative)


def _directories(path: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        yield from (entry for entry in path.iterdir() if entry.is_dir())


def _words(path: Path) -> list[str]:
    return path.read_text().split()


def _number(path: Path) -> int:
    return int(path.read_text())


def _table(path: Path) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in path.read_text().splitlines())}


def _write(path: Path, text: str) -> None:
    try:
        with path.open("w") as file:
            file.write(text)
    except OSError as error:
        raise Refused(f"{path.name}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    number = error.errno or 0
    return f"[Errno {number}] {errno.errorcode.get(number, 'unknown')}, {os.strerror(number)}"
