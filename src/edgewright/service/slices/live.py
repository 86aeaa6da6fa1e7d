"""What the Slice Manager has standing on this host: chunks and the services in them, from the start to the end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgewright.core.errors import CapacityError, InputError
from edgewright.drivers.host import HostError
from edgewright.service.loops.choice import instance
from edgewright.service.packages import Artefacts
from edgewright.service.refusals import NotFound
from edgewright.service.slices import compute, instances, networks, radio
from edgewright.service.slices.hosting import Hosting, open_hosting
from edgewright.service.slices.instance import Instance

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime

MEND_S = 1.0  # between two looks at what may have died


@dataclass
class Slices:
    """Of the worker that has the lease; guarded by `runtime.changing`."""

    runtime: Runtime
    hosting: Hosting = field(default_factory=Hosting)
    running: dict[str, Instance] = field(default_factory=dict)  # by id
    troubles: dict[str, str] = field(default_factory=dict)  # what could not be restored, and why
    _stop: threading.Event = field(default_factory=threading.Event)
    _mender: threading.Thread | None = None

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
        self.troubles = {}
        self.running.clear()
        with self.watching("artefacts"):
            self.artefacts.clear()
        networks.restore(self.runtime)
        compute.restore(self.runtime)
        instances.restore(self.runtime)
        self._stop.clear()
        self._mender = threading.Thread(target=self._mend, name="mender", daemon=True)
        self._mender.start()

    def close(self) -> None:
        """End the services and what they stood on; their data stays, and the next start brings them back."""
        self._stop.set()
        if self._mender is not None:
            self._mender.join()
        for running in self.running.values():
            with self.watching(f"instance {running.name}"):
                running.close()
        self.running.clear()
        with self.watching("slices"):
            self.hosting.close()

    def _mend(self) -> None:
        while not self._stop.wait(MEND_S):
            for running in list(self.running.values()):
                with self.watching(f"instance {running.name}"):
                    for line in running.mend():
                        self.runtime.recorder.event("restarted", line)

    @contextlib.contextmanager
    def watching(self, about: str) -> Iterator[None]:
        """What fails meanwhile is told, and the others go on."""
        try:
            yield
        except (HostError, InputError, CapacityError, NotFound, OSError) as error:
            if self.troubles.get(about) != str(error):
                self.troubles[about] = str(error)
                self.runtime.recorder.event("slices_failed", f"{about}: {error}")
        else:
            self.troubles.pop(about, None)
