"""What an orchestrator has on this host, found without asking it; and all of it removed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from edgewright.service.loops.choice import instance
from edgewright.service.settings import Settings

GROUPS = Path("/sys/fs/cgroup")
NAMESPACES = Path("/run/netns")


@dataclass(frozen=True)
class Host:
    data: Path

    @property
    def owner(self) -> str:
        return instance(Settings(data_dir=self.data), "slices")

    def groups(self) -> set[str]:
        """Control groups by what follows the hierarchy's top, our parents too."""
        marks = [instance(Settings(data_dir=self.data), name) for name in ("slices", "probe")]
        found = set[str]()
        for top in (GROUPS, *GROUPS.iterdir()):
            for each in top.glob("edgewright-*") if top.is_dir() else ():
                if any(mark in each.name for mark in marks):
                    found |= {str(path.relative_to(top)) for path in (each, *each.rglob("*")) if path.is_dir()}
        return found

    def group_of(self, *names: str) -> str:
        return "/".join((f"edgewright-{self.owner}", *names))

    @property
    def balancers(self) -> str:
        """The group of them."""
        return f"edgewright-{self.owner[:40]}-ingress"

    def namespace_of(self, *names: str) -> str:
        return "_".join((f"edgewright-c{hashlib.sha256(self.owner.encode()).hexdigest()[:8]}", *names))

    def namespaces(self, pids: list[int]) -> set[str]:
        """Of chunks, and those that processes `pids` named after themselves."""
        own = re.compile("|".join([re.escape(self.namespace_of("")), *(f"edgewright-{pid}-" for pid in pids)]))
        return {each.name for each in NAMESPACES.glob("edgewright-*") if own.match(each.name)}

    def processes(self) -> dict[int, str]:
        """Command lines of those that name the data folder in their arguments, environment or working directory."""
        mark, found = os.fsencode(self.data), {}
        for folder in Path("/proc").glob("[0-9]*"):
            if int(folder.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes()
                where = os.fsencode(os.readlink(folder / "cwd"))
                zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
                if not zombie and mark in b"\0".join((command, where, (folder / "environ").read_bytes())):
                    found[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace")[:300]
        return found

    def mounts(self) -> set[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return {line.split()[4] for line in lines if str(self.data) in line.split()[4]}

    def loop_devices(self) -> dict[str, str]:
        """-> by device, the file behind."""
        found = {}
        for file in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                if str(self.data) in (behind := file.read_text().strip()):
                    found[f"/dev/{file.parts[3]}"] = behind
        return found

    def probes(self, pids: list[int]) -> set[str]:
        """Control groups that processes `pids` named after themselves."""
        tops = [top for top in (GROUPS, *GROUPS.iterdir()) if top.is_dir()]
        return {str(each) for top in tops for pid in pids for each in top.glob(f"edgewright-doctor-{pid}")}

    def left(self, pids: list[int]) -> list[str]:
        """All of it; empty once an orchestrator has ended as it should."""
        found = [f"process {pid}: {command}" for pid, command in self.processes().items()]
        found += [f"control group {name}" for name in sorted(self.groups() | self.probes(pids))]
        found += [f"network namespace {name}" for name in sorted(self.namespaces(pids))]
        found += [f"mount {path}" for path in sorted(self.mounts())]
        return found + [f"loop device {device}: {file}" for device, file in self.loop_devices().items()]

    def sweep(self, pids: list[int]) -> None:
        """Remove it, whatever failed before."""
        for _ in range(100):
            if not (running := self.processes()):
                break
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        for path in sorted(self.mounts(), reverse=True):
            subprocess.run(["umount", path], check=False)
        for device in self.loop_devices():
            subprocess.run(["losetup", "-d", device], check=False)
        for name in self.namespaces(pids):
            subprocess.run(["ip", "netns", "del", name], check=False)
        for top in GROUPS.iterdir():
            for name in sorted(self.groups(), key=len, reverse=True):
                with contextlib.suppress(OSError):
                    (top / name).rmdir()
        for probe in self.probes(pids):
            with contextlib.suppress(OSError):
                Path(probe).rmdir()
