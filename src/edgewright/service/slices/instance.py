"""A service that runs in a slice: replicas in its compute chunk, on its network chunk, behind one address."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgewright.core.documents import read
from edgewright.core.errors import InputError
from edgewright.drivers.balancer.control import Backend, BalancerFile, Balancing, balancer_spec, write_file
from edgewright.drivers.chunks import NetworkChunk
from edgewright.drivers.host import HostError, Limits, ServiceHost, ServiceSpec
from edgewright.scaling.launch import free_port
from edgewright.scaling.model import MB
from edgewright.service.loops.pace import go_along
from edgewright.service.packages import Artefacts, Package, filled
from edgewright.service.slices.records import Json

INSIDE_PORT = 8080  # of every replica that has a network of its own
DRAIN_S = 30.0  # given to the requests of a replica that goes


@dataclass
class Instance:
    """`cpus` and `ram_mb` are of each replica."""

    id: str
    name: str
    about: str  # names it where its trouble is told
    package: Package
    host: ServiceHost
    ingress: ServiceHost
    network: NetworkChunk | None
    folder: Path  # working directory of the replicas
    file: Path  # of the balancer
    token: str
    cpus: float
    ram_mb: float
    port: int = 0
    needs: Json | None = None  # its record as large as a change under way may make it
    restored: bool = True  # False: what the store has of it is not all in force yet
    closed: bool = False  # nothing of it starts any more
    lock: threading.RLock = field(default_factory=threading.RLock)
    """One change at a time; whoever holds it may take `Runtime.changing`, never the other way round."""

    @property
    def balancing(self) -> Balancing:
        return Balancing(self.file, self.token)

    @property
    def balancer(self) -> str:
        return balancer_of(self.id)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def limits(self) -> Limits:
        return Limits(self.cpus, int(self.ram_mb * MB))

    def replica(self, number: int) -> str:
        return replica_of(self.id, number)

    @property
    def replicas(self) -> list[str]:
        """Those that there shall be, as the balancer's file says."""
        return [backend.name for backend in self._backends()]

    def specs(self, count: int) -> list[ServiceSpec]:
        """Of the first `count` replicas; those that have an address keep it."""
        known = {backend.name: backend for backend in self._backends()}
        return [self._spec(known.get(name) or self._backend(name)) for name in map(self.replica, range(count))]

    def balancer_spec(self) -> ServiceSpec:
        return balancer_spec(self.balancer, self.file, self.port, self.token)

    # Life

    def start(self, count: int, artefacts: Artefacts) -> None:
        """Adopt what runs, start the rest, replicas and balancer. Raises HostError, OSError; `close` cleans up."""
        self.folder.mkdir(parents=True, exist_ok=True)
        artefacts.lay_out(self.package, self.folder)
        if self.file.exists():
            self.ingress.adopt(self.balancer_spec())
        wanted = {self.balancer, *map(self.replica, range(count))}
        self._start_again([name for name in self.missing() if name in wanted])
        self.scale(count)

    def scale(self, count: int) -> None:
        """To so many replicas; no request fails meanwhile. Raises HostError: there are as many as before."""
        old, new = self._backends(), [self.replica(number) for number in range(count)]
        gone = [backend.name for backend in old if backend.name not in new]
        fresh: list[str] = []
        try:
            known = {backend.name: backend for backend in old}
            backends = [known.get(name) or self._backend(name) for name in new]
            missing = [backend for backend in backends if backend.name not in self.host.services]
            fresh = [backend.name for backend in missing]
            self._start(missing)
            self.balancing.set_backends(backends)
            self.balancing.await_up(new, self.package.run.start_timeout_s)
        except BaseException:
            with contextlib.suppress(HostError):  # a balancer that died reads them from its file
                self.balancing.set_backends(old)
            self._stop(name for name in fresh if name not in known)
            raise
        with contextlib.suppress(HostError):  # what takes longer than it is given is cut off
            self.balancing.await_drained(gone, DRAIN_S + 5)
        self._stop(gone)

    def resize(self, cpus: float, ram_mb: float) -> None:
        """Limits of every replica, all or none; one that does not run is started with them.

        Raises HostError: the old ones are in force.
        """
        old, done = self.limits, []
        new = Limits(cpus, int(ram_mb * MB))
        try:
            for name in [each for each in self.replicas if each in self.host.services]:
                done.append(name)
                if refused := self.host.set_limits(name, new).refused:
                    raise HostError(name, "; ".join(refused.values()))
        except BaseException:
            for name in done:
                with contextlib.suppress(HostError, InputError):  # one that is gone holds up no other
                    self.host.set_limits(name, old)
            raise
        self.cpus, self.ram_mb = cpus, ram_mb

    def missing(self) -> list[str]:
        """Of its balancer and its replicas, those that do not run: they ended, or never started."""
        parts = [(self.ingress, self.balancer), *((self.host, name) for name in self.replicas)]
        return [name for host, name in parts if not _lives(host, name)]

    def mend(self, tell: Callable[[str], None]) -> None:
        """Start what is missing, and tell each. Hold `lock`. Raises HostError for those that do not start."""
        self._start_again(self.missing(), tell)

    def restart(self) -> None:
        """Every replica, one after the other: the others answer meanwhile. Raises HostError."""
        with self.lock:
            for name in self.replicas:
                self._start_one(name)

    def close(self) -> None:
        """End its processes; its files stay. Raises HostError: may be called again."""
        self.closed = True
        if self.balancer in self.ingress.services:  # first: its idle connections would hold up the replicas' end
            self.ingress.stop(self.balancer)
        self._stop([name for name in self.host.services if name.startswith(f"{self.id[:8]}-")])

    def view(self) -> list[Json]:
        """Its replicas as they are now."""
        states: dict[str, Any] = {}
        with contextlib.suppress(HostError):
            states = self.balancing.backends()
        found = []
        for backend in self._backends():
            told: Json = {"name": backend.name, "address": backend.url, "alive": False, "pid": None}
            with contextlib.suppress(HostError, InputError):
                usage = self.host.usage(backend.name)
                told |= {"alive": usage.alive, "pid": usage.pid, "restarts": usage.restarts}
                told |= {"cpus": usage.limits.cpu, "memory_mb": round(usage.memory_bytes / MB, 1)}
            if state := states.get(backend.name):
                told |= {"state": state.state, "outstanding": state.outstanding, "requests": state.requests}
            found.append(told)
        return found

    # Inside

    def _start_again(self, names: list[str], tell: Callable[[str], None] = lambda _: None) -> None:
        """All at once. Raises HostError, OSError for those that do not start; the others run."""
        with ThreadPoolExecutor(max(len(names), 1), initializer=go_along) as pool:
            begun = {name: pool.submit(self._start_one, name) for name in names}
        failed = []
        for name, each in begun.items():
            if (error := each.exception()) is not None:
                failed.append(error)
            else:
                tell(f"{name} had ended: started again (pid {each.result()})")
        if len(failed) == 1:
            raise failed[0]
        if failed:
            raise HostError(self.name, "; ".join(map(str, failed)))

    def _start_one(self, name: str) -> int:
        """A replica or the balancer, running or not -> pid. Raises HostError."""
        if self.closed:
            raise HostError(name, "it has been ended")
        host = self.ingress if name == self.balancer else self.host
        if name in host.services:
            return host.restart(name)
        if name == self.balancer:
            return self._start_balancer()
        backend = next(each for each in self._backends() if each.name == name)
        return self.host.start(self._spec(backend), self.limits)

    def _start_balancer(self) -> int:
        """On the ports it had where they are free -> pid."""
        old = read(BalancerFile, self.file) if self.file.exists() else None
        content = BalancerFile(
            service=self.name,
            control_port=free_port(old.control_port if old else 0),
            health_path=self.package.run.health_path,
            drain_s=DRAIN_S,
            extra_buckets_s=(self.package.slo.response_s,),
            backends=old.backends if old else (),
        )
        write_file(self.file, content)
        self.port = free_port(self.port)
        return self.ingress.start(self.balancer_spec(), Limits(self.ingress.capacity.cpu))

    def _backends(self) -> tuple[Backend, ...]:
        return read(BalancerFile, self.file).backends if self.file.exists() else ()

    def _backend(self, name: str) -> Backend:
        if self.network is None:
            return Backend(name=name, url=f"http://127.0.0.1:{free_port()}")
        wire = self.network.attach(name)
        return Backend(name=name, url=f"http://{wire.address}:{INSIDE_PORT}", namespace=self.network.namespace)

    def _spec(self, backend: Backend) -> ServiceSpec:
        address, port = backend.address
        run = self.package.run
        values: dict[str, str | int] = {"address": address, "port": port, "name": backend.name}
        first, *rest = (filled(word, values) for word in run.command)
        return ServiceSpec(
            backend.name,
            (sys.executable if first in ("python", "python3") else first, *rest),
            environment=run.environment,
            working_directory=self.folder,
            health_url=f"{backend.url}{run.health_path}",
            start_timeout_s=run.start_timeout_s,
            start_unthrottled=True,
            namespace=self.network.attach(backend.name).namespace if self.network is not None else None,
        )

    def _start(self, backends: list[Backend]) -> None:
        """All at once: each waits until it is healthy."""
        with ThreadPoolExecutor(max(len(backends), 1), initializer=go_along) as pool:
            started = [pool.submit(self.host.start, self._spec(backend), self.limits) for backend in backends]
        for each in started:
            each.result()

    def _stop(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.host.services:
                self.host.stop(name)
            if self.network is not None:
                self.network.detach(name)


def balancer_of(instance_id: str) -> str:
    """The name of its process."""
    return f"{instance_id[:8]}-balancer"


def replica_of(instance_id: str, number: int) -> str:
    """The name of its process."""
    return f"{instance_id[:8]}-{number}"


def _lives(host: ServiceHost, name: str) -> bool:
    try:
        return host.usage(name).alive
    except (HostError, InputError):  # its group is gone, or it is not there
        return False
