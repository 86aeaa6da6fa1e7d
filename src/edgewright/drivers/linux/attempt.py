"""One attempt to move a service: its mechanism's steps, each written down before it is taken, and the way back."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from edgewright.drivers.host import HostError
from edgewright.drivers.linux.journal import Move, State
from edgewright.drivers.linux.namespaces import NetworkError
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.sessions import HostLost
from edgewright.drivers.migration import Migration, MoveError, Phase, Status

if TYPE_CHECKING:
    from edgewright.drivers.linux.moves import EdgeMigrator


class Mechanism(ABC):
    """Of one migration. Methods but `give_up` raise MoveError, NetworkError, OSError, HostError or SubprocessError."""

    image_bytes = 0  # of the copy, once it is made

    @abstractmethod
    def pre_copy(self) -> None: ...

    @abstractmethod
    def copy(self) -> None:
        """Lets requests wait for the target before it freezes the source."""

    @abstractmethod
    def restore(self) -> Process:
        """The first process of the target's instance, still frozen."""

    @abstractmethod
    def held_s(self) -> float | None:
        """When requests began to wait, s since the epoch; None: they never did."""

    def give_up(self) -> None:  # noqa: B027
        """After a failure: what else runs for the migration ends."""


class Attempt:
    """From its first phase to its record."""

    def __init__(
        self, owner: EdgeMigrator, state: State, target: str, on_phase: Callable[[Phase], None], mechanism: Mechanism
    ) -> None:
        self._owner, self._state, self._target = owner, state, target
        self._on_phase, self._mechanism = on_phase, mechanism
        self._source = state.node
        own = Process.of(os.getpid())
        assert own is not None
        self._own = own
        self._started_s, self._clock_s = time.time(), time.monotonic()
        self._phases_s: dict[Phase, float] = {}
        self._phase: Phase | None = None
        self._phase_began_s = 0.0
        self._frozen_s = 0.0
        self._told_to_run = False  # the copy

    def run(self) -> Migration:
        status: Status = "done"
        reason = ""
        try:
            self._enter("preflight")
            if found := self._owner.preflight(self._state.name, self._target):
                raise MoveError("; ".join(found))
            reason = self._move()
        except (MoveError, NetworkError, OSError, HostError, subprocess.SubprocessError) as error:
            status, reason = self._back(str(error), lost=isinstance(error, HostLost))
        except BaseException as error:
            self._back(str(error))
            raise
        return self.record(status, reason)

    def record(self, status: Status, reason: str) -> Migration:
        self._leave()
        return Migration(
            self._state.name,
            self._source,
            self._target,
            status,
            reason,
            self._started_s,
            time.monotonic() - self._clock_s,
            self._frozen_s,
            self._mechanism.image_bytes,
            dict(self._phases_s),
        )

    def _move(self) -> str:
        """-> what is left for later."""
        self._step("pre_copy")
        self._owner._remove_images(self._state)
        self._owner._attach(self._state, self._target)
        self._mechanism.pre_copy()

        self._step("copy")
        self._mechanism.copy()

        self._step("restore")
        copy = self._mechanism.restore()

        self._step("resume", copy)
        self._told_to_run = True
        self._owner._go_on(self._state, copy, self._target)
        if not self._owner._alive(self._state, self._target, copy):
            raise MoveError("the restored process ended as it was to go on")

        self._step("hand_over", copy)
        held_s = self._mechanism.held_s()
        self._owner.edge.send(self._owner.edge.address(self._state.number), self._target)
        self._thaw(held_s, time.time())
        self._state = self._owner._hand_over(self._state)

        self._step("clean_up", copy)
        if not self._owner._alive(self._state, self._target, copy):
            raise HostError(self._state.name, f"the process at {self._target} has ended")
        left = self._owner._clean_up(self._state)
        self._state = replace(self._state, move=None)
        return left

    def _back(self, reason: str, *, lost: bool = False) -> tuple[Status, str]:
        """After a failure; `lost`: of another host, which may have done what it was told."""
        self._mechanism.give_up()
        try:
            if self._state.move is None:
                runs = self._owner._alive(self._state, self._source, self._state.process)
                return ("rolled_back" if runs else "failed"), reason
            step, held_s = self._state.move.step, self._mechanism.held_s()
            with contextlib.suppress(Exception):  # what listens may be what failed
                self._enter("roll_back")
            may_have_run = self._told_to_run and (lost or not self._owner._may_go_back(self._state))
            if may_have_run or step in ("hand_over", "clean_up"):
                said = self._owner._settle(self._state.name)
                now = self._owner._journal.read(self._state.name)
                status: Status = "done" if now.node == self._target else "rolled_back"
                serves = now.move is None or now.move.step == "clean_up"
                if not serves or not self._owner._alive(now, now.node, now.process):
                    status = "failed"
                return status, f"{reason}; {'; '.join(said)}"
            self._thaw(held_s, self._owner._roll_back(self._state))
            return "rolled_back", reason
        except (NetworkError, OSError, HostError) as error:
            return "failed", f"{reason}; then: {error}"

    def _thaw(self, held_s: float | None, gone_on_s: float) -> None:
        self._frozen_s = 0.0 if held_s is None else gone_on_s - held_s

    def _step(self, phase: Phase, copy: Process | None = None) -> None:
        """Write down what comes next, then begin it."""
        self._state = replace(self._state, move=Move(self._target, self._source, phase, self._own, copy))
        self._owner._journal.write(self._state)
        self._enter(phase)

    def _enter(self, phase: Phase) -> None:
        self._leave()
        self._phase, self._phase_began_s = phase, time.monotonic()
        self._on_phase(phase)

    def _leave(self) -> None:
        if self._phase:
            self._phases_s[self._phase] = time.monotonic() - self._phase_began_s
