"""Whose turn it is to be mended: each patient its own, at once, ever rarer where that does not help."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from edgewright.service.loops.pace import go_along

log = structlog.get_logger("edgewright.mender")
LOOK_S = 1.0  # between two looks at who is ill
TURNS = 8  # at once
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0  # between the turns of one patient
STEADY_S = 60.0  # well for so long, it begins again with the first wait


@dataclass
class _Patient:
    wait_s: float
    due: float = 0.0  # monotonic
    busy: bool = False


class Mender:
    """`ill` tells who needs a turn, quickly. `mend` is such a turn -> whether it was tried; a patient has one at a
    time, and none of them holds up the others.
    """

    def __init__(self, ill: Callable[[], Collection[str]], mend: Callable[[str], bool]) -> None:
        self._ill, self._mend = ill, mend
        self._patients: dict[str, _Patient] = {}
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(TURNS, "mender", initializer=go_along)
        self._thread = threading.Thread(target=self._run, name="mender", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Turns under way end, none begins."""
        self._stop.set()
        self._thread.join()
        self._pool.shutdown(cancel_futures=True)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self._look(self._ill(), time.monotonic())
            except Exception as error:  # nothing may end this thread
                log.error("no_look", detail=f"{type(error).__name__}: {error}")

    def _look(self, ill: Collection[str], now: float) -> None:
        for id_, patient in list(self._patients.items()):
            if id_ not in ill and not patient.busy and now > patient.due + STEADY_S:
                del self._patients[id_]
        for id_ in ill:
            patient = self._patients.setdefault(id_, _Patient(FIRST_WAIT_S))
            if not patient.busy and now >= patient.due:
                patient.busy = True
                self._pool.submit(self._turn, id_, patient)

    def _turn(self, id_: str, patient: _Patient) -> None:
        tried = True
        try:
            tried = self._mend(id_)
        except Exception as error:
            log.error("not_mended", id=id_, detail=f"{type(error).__name__}: {error}")
        if tried:
            patient.due = time.monotonic() + patient.wait_s
            patient.wait_s = min(patient.wait_s * 2, LONGEST_WAIT_S)
        patient.busy = False
