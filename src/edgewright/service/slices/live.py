"""What the Slice Manager has standing on this host: chunks and the services in them, from the start to the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgewright.core.errors import CapacityError, InputError
from edgewright.drivers.host import HostError
from edgewright.service.loops.choice import instance
from edgewright.service.packages import Artefacts
from edgewright.service.refusals import Conflict, NotFound
from edgewright.service.slices import compute, instances, networks, radio
from edgewright.service.slices.hosting import Hosting, open_hosting
from edgewright.service.slices.instance import Instance
from edgewright.service.slices.mender import Mender

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime

FAILURES = (HostError, InputError, CapacityError, Conflict, NotFound, OSError)
CHUNK = "chunk of "  # before the id of an instance: its chunk is to be mended, not itself
CLOSES = 8  # instances at once
SETTLE_S = 0.5  # the mender does not wait long for `changing`: who holds that may wait for the mender


@dataclass
class Slices:
    """Of the worker that has the lease; guarded by `runtime.changing`."""

    runtime: Runtime
    hosting: Hosting = field(default_factory=Hosting)
    running: dict[str, Instance] = field(default_factory=dict)  # by id
    troubles: dict[str, str] = field(default_factory=dict)  # what could not be restored, and why
    busy: set[str] = field(default_factory=set)  # compute chunks that are being made, changed or removed
    _mender: Mender | None = None

    @property
    def artefacts(self) -> Artefacts:
        return Artefacts(self.runtime.settings.data_dir / "artefacts")

    @property
    def trouble(self) -> list[str]:
        return [f"{about}: {reason}" for about, reason in list(self.troubles.items())]

    def open(self) -> None:
        """The drivers of this host: before the ledger knows what it has. What is missing is told.

        Raises InputError where there is no such RAN controller.
        """
        settings, choice = self.runtime.settings, self.runtime.choice
        assert choice is not None
        ran = radio.driver(settings.ran_controller)
        self.hosting = open_hosting(settings.data_dir, instance(settings, "slices"), choice)
        self.hosting.ran = ran

    def restore(self) -> None:
        """Everything that the store has stands again; what a crash cut short is gone. Raises StoreError."""
        self.troubles, self.busy = {}, set()
        self.running.clear()
        with self.watching("artefacts"):
            self.artefacts.clear()
        networks.restore(self.runtime)
        compute.restore(self.runtime)
        instances.restore(self.runtime)
        self._mender = Mender(self._ill, self._mend)

    def give_up(self) -> None:
        """Before `close`: what takes long fails soon."""
        if self.hosting.compute is not None:
            self.hosting.compute.give_up()

    def close(self) -> None:
        """End the services and what they stood on; their data stays, and the next start brings them back."""
        if self._mender is not None:
            self._mender.close()
            self._mender = None
        with ThreadPoolExecutor(CLOSES) as pool:  # their graces do not add up
            list(pool.map(self._close, list(self.running.values())))
        self.running.clear()
        with self.watching("slices"):
            self.hosting.close()

    def _close(self, running: Instance) -> None:
        with self.watching(running.about):
            running.close()

    def forget(self, *subjects: str) -> None:
        """The trouble of what is no more."""
        for about in subjects:
            self.troubles.pop(about, None)

    @contextlib.contextmanager
    def watching(self, about: str, failures: tuple[type[Exception], ...] = FAILURES) -> Iterator[None]:
        """What fails meanwhile is told, and the others go on."""
        try:
            yield
        except failures as error:
            reason = str(error) or type(error).__name__
            if self.troubles.get(about) != reason:
                self.troubles[about] = reason
                self.runtime.recorder.event("slices_failed", f"{about}: {reason}")
        else:
            self.troubles.pop(about, None)

    def _ill(self) -> list[str]:
        """Instances in which something does not run, or did not become as it should."""
        here = [each for each in list(self.running.values()) if not each.closed]
        unfit = [f"{CHUNK}{each.id}" for each in here if instances.chunk_of(each.about) in self.troubles]
        return [each.id for each in here if self._is_ill(each)] + unfit

    def _is_ill(self, running: Instance) -> bool:
        try:
            return running.about in self.troubles or not running.restored or bool(running.missing())
        except Exception:  # its turn will tell
            return True

    def _mend(self, id_: str) -> bool:
        """Unless it is being changed -> whether it was tried."""
        running = self.running.get(id_.removeprefix(CHUNK))
        if running is None or not running.lock.acquire(blocking=False):
            return False
        try:
            if running.closed:  # meanwhile
                return False
            if id_.startswith(CHUNK):
                instances.settle(self.runtime, running, wait_s=SETTLE_S)
                return True
            with self.watching(running.about, (Exception,)):
                if running.restored:
                    running.mend(lambda line: self.runtime.recorder.event("restarted", line))
                else:
                    instances.bring_up(self.runtime, running)
                    self.runtime.fulfilment.settle(running.id)  # its port may be another
                    self.runtime.recorder.event("restarted", f"{running.name} is as it was before")
            return True
        finally:
            running.lock.release()
