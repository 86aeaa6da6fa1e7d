"""When a loop's steps are due: at absolute times, so that lateness does not add up; and how well that is kept."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

KEPT = 900
OVERRUN_EVENT_S = 60.0
NORMAL = os.getpriority(os.PRIO_PROCESS, os.getpid())  # nice values
AHEAD = -10


def go_ahead() -> None:
    """Let the calling thread, and those it starts, go before other programs of this host, where that is permitted.

    All of an orchestrator's threads do: one of them that is held up while it has the interpreter's lock holds up the
    loops. What it starts must not: see `go_along`.
    """
    _set_priority(AHEAD)


def go_along() -> None:
    """Back to the priority that this process was started with: for threads that start services, which inherit it."""
    _set_priority(NORMAL)


def _set_priority(nice: int) -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


@dataclass
class Pace:
    """Steps every `period_s`, on the monotonic clock. A step that takes too long skips those it missed."""

    period_s: float
    overruns: int = 0  # steps skipped
    _due: float = 0.0
    _late_s: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    _cpu_s: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    _cpu_mark: float = 0.0

    def start(self) -> None:
        """Call in the loop's thread: the first step is due one period from now."""
        go_ahead()
        self._due = time.monotonic() + self.period_s
        self._cpu_mark = time.thread_time()

    def wait(self, stop: threading.Event) -> bool:
        """Sleep until the next step is due. False where `stop` was set."""
        now = time.thread_time()
        self._cpu_s.append(now - self._cpu_mark)
        self._cpu_mark = now
        missed = int((time.monotonic() - self._due) // self.period_s)
        if missed > 0:
            self.overruns += missed
            self._due += missed * self.period_s
        if stop.wait(max(self._due - time.monotonic(), 0.0)):
            return False
        self._late_s.append(time.monotonic() - self._due)
        self._due += self.period_s
        return True

    def steps(self, stop: threading.Event, event: Callable[[str, str], None]) -> Iterator[None]:
        """Start, and go on to each step when it is due, until `stop` is set; steps skipped are an event, one in
        OVERRUN_EVENT_S at most.
        """
        self.start()
        missed, told = self.overruns, -math.inf
        while self.wait(stop):
            if self.overruns > missed and time.monotonic() - told > OVERRUN_EVENT_S:
                event("overrun", f"{self.overruns - missed} steps skipped since the last such event")
                missed, told = self.overruns, time.monotonic()
            yield

    @property
    def jitter_p99_s(self) -> float:
        """99th percentile of how late a step began, over the last steps."""
        return float(np.quantile(list(self._late_s), 0.99)) if self._late_s else 0.0

    @property
    def cpu_share(self) -> float:
        """CPU of the loop's thread, as a share of one core."""
        return float(np.mean(list(self._cpu_s))) / self.period_s if self._cpu_s else 0.0
