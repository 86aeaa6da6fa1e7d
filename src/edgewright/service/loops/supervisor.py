"""Processes that die are noticed, recorded and started again, ever slower where that does not help."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edgewright.service.loops.pace import go_along
from edgewright.service.loops.slices import Life, RunningSlice

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
STEADY_S = 60.0  # alive for so long, a service starts again with the first wait


@dataclass
class _Watched:
    wait_s: float
    due: float | None = None  # when the next start is due; None while it lives
    busy: bool = False
    born: float = 0.0  # its last start by us


@dataclass
class Supervisor:
    """Of one slice. `event(kind, detail, service)` records."""

    slice: RunningSlice
    left_dead: Mapping[str, str]  # service -> why it is not started again from here
    event: Callable[[str, str, str], None]
    first_wait_s: float = FIRST_WAIT_S
    _watched: dict[str, _Watched] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, lives: Mapping[str, Life], seen_s: float) -> list[str]:
        """Call at every step with what was seen from `seen_s` (monotonic) on -> a warning for each that does not live.

        Starts run in threads of their own.
        """
        warnings, now = [], time.monotonic()
        for name, life in lives.items():
            with self._lock:
                watched = self._watched.setdefault(name, _Watched(self.first_wait_s))
                if watched.busy:
                    warnings.append(f"{name}: is being started")
                    continue
                if seen_s < watched.born:
                    continue  # looked at before its last start
                if life.alive:
                    if now - watched.born > STEADY_S:
                        watched.wait_s = self.first_wait_s
                    watched.due = None
                    continue
                left = self.left_dead.get(name)
                if watched.due is None:
                    watched.due = now + watched.wait_s
                    then = f"next start in {watched.wait_s:g} s" if left is None else f"not started from here ({left})"
                    self.event("service_died", then, name)
                warnings.append(f"{name}: does not run" + ("" if left is None else f" ({left})"))
                if left is None and now >= watched.due:
                    watched.busy = True
                    threading.Thread(target=self._restart, args=(name, "died"), daemon=True).start()
        return warnings

    def restart(self, name: str) -> bool:
        """Restart at a user's wish, in the background. False where a start is under way."""
        with self._lock:
            watched = self._watched.setdefault(name, _Watched(self.first_wait_s))
            if watched.busy:
                return False
            watched.busy = True
        threading.Thread(target=self._restart, args=(name, "asked for"), daemon=True).start()
        return True

    def join(self, timeout_s: float) -> None:
        """Wait until no start is under way."""
        deadline = time.monotonic() + timeout_s
        while any(watched.busy for watched in self._watched.values()) and time.monotonic() < deadline:
            time.sleep(0.02)

    def _restart(self, name: str, why: str) -> None:
        watched = self._watched[name]
        go_along()
        try:
            self.slice.restart(name)
            self.event("service_restarted", why, name)
            watched.due = None
        except Exception as error:  # whatever it is, the next try must not come at once
            self.event("restart_failed", str(error), name)
            watched.due = time.monotonic() + watched.wait_s
        finally:
            if why == "died":
                watched.wait_s = min(watched.wait_s * 2, LONGEST_WAIT_S)
            watched.born = time.monotonic()
            watched.busy = False
