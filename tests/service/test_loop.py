"""One loop on a simulated machine in stepped time, without threads or HTTP."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewright.core.contracts import BoolArray
from edgewright.drivers.host import HostError
from edgewright.scaling.model import Action
from edgewright.scaling.observation import Observation
from edgewright.service.loops.history import History, Moment
from edgewright.service.loops.orders import set_capacity
from edgewright.service.loops.pace import Pace
from edgewright.service.loops.supervisor import Supervisor

from .conftest import until
from .stepped import Stepped


class Wild:
    """Wants too much, then fails."""

    def __init__(self) -> None:
        self.wish = np.array([5.0, 5.0])

    def decide(self, seen: Observation, mask: BoolArray | None, memory: Any) -> tuple[Action, Any, tuple[str, ...]]:
        if self.wish.size != 2:
            raise ValueError("no wish")
        return Action(self.wish), None, ("wild", "wild")


def test_guard_bounds_whatever_the_policy_says(tmp_path: Path) -> None:
    policy = Wild()
    made = Stepped(tmp_path, policy)
    try:
        body = made.step(2)
        assert sum(limit["cpu"] for limit in body["limits"].values()) <= 1.0 + 1e-9
        assert body["wanted"]["a"]["cpu"] == 5.0
        assert body["verdict"]["changed"]
        policy.wish = np.array([np.nan, 0.3])
        before = made.loop.limits["a"].cpu
        assert made.step()["limits"]["a"]["cpu"] == pytest.approx(before)
        policy.wish = np.empty(0)
        in_force = made.step(3)["limits"]  # the policy raises: limits stay, the loop goes on, one event
        assert in_force["a"]["cpu"] == pytest.approx(made.step()["limits"]["a"]["cpu"])
        assert [kind for kind, _ in made.events()].count("policy_failed") == 1
        assert any("no wish" in warning for warning in made.loop.warnings)
        policy.wish = np.array([0.2, 0.2])
        assert made.step()["limits"]["b"]["cpu"] == pytest.approx(0.2)
        assert not made.loop.warnings
    finally:
        made.loop.slice.close()
        made.store.close()


def test_two_orders_within_one_interval(stepped: Stepped) -> None:
    """The driver compares with what it last saw: a second order must not be lost because of it."""
    stepped.step()
    loop = stepped.loop
    with loop.lock:
        loop.enforce(np.array([0.5, 0.3]), None, "up")
        loop.enforce(np.array([0.3, 0.3]), None, "and back")
    assert loop.slice.host.usage("a").limits.cpu == pytest.approx(0.3)
    assert loop.limits["a"].cpu == pytest.approx(0.3)


def test_memory_shrinks_with_the_slice(stepped: Stepped) -> None:
    stepped.step()
    set_capacity(stepped.loop, None, 300.0)
    total = sum(limit.memory_bytes or 0 for limit in stepped.loop.limits.values())
    assert total <= 300e6
    assert all((limit.memory_bytes or 0) >= 64e6 for limit in stepped.loop.limits.values())


def test_a_service_being_started_is_described_not_waited_for(stepped: Stepped) -> None:
    """A start may take a minute; the loop must keep its pace meanwhile."""
    stepped.step()
    host, entered, leave = stepped.loop.slice.host, threading.Event(), threading.Event()
    restart = host.restart

    def slow(name: str) -> int:
        entered.set()
        leave.wait(20)
        return restart(name)

    host.restart = slow
    stepped.machine.fail("a")
    stepped.step()
    until(lambda: stepped.step() and entered.is_set(), timeout_s=10)
    limit = stepped.loop.limits["a"].memory_bytes
    body = stepped.step(30)
    assert body["limits"]["a"]["memory_bytes"] == limit  # enough to come back with
    assert body["observation"]["a"]["limit_cpu"] == pytest.approx(0.3)
    assert any("a: is being started" in warning for warning in stepped.loop.warnings)
    leave.set()
    until(lambda: stepped.step() and stepped.loop.lives["a"].alive)
    assert stepped.loop.lives["a"].restarts == 1


def test_history_after_a_restart(stepped: Stepped, tmp_path: Path) -> None:
    stepped.step(4)
    series = stepped.loop.history.series(100)
    stepped.loop.recorder.flush()
    again = replace(stepped.loop)  # a new loop over the same store
    again._restore_history()
    assert again.seq == 4
    assert again.history.series(100) == series


def test_what_was_seen_before_a_start_is_no_second_death(stepped: Stepped) -> None:
    """A report read while the process was down may arrive after it is up again."""
    stepped.step()
    watch, before = stepped.loop.supervisor, time.monotonic()
    stepped.machine.fail("a")
    dead = stepped.loop.slice.lives()
    assert watch.restart("a")
    watch.join(10)
    assert watch.check(dead, before) == []
    stepped.step(2)
    assert [kind for kind, _ in stepped.events()] == ["service_restarted"]


# Supervisor


class Failing:
    def __init__(self) -> None:
        self.tried: list[str] = []

    def restart(self, name: str) -> None:
        self.tried.append(name)
        raise HostError(name, "no such program")


def test_restarts_become_rarer(stepped: Stepped) -> None:
    slice_, events = Failing(), []
    watch = Supervisor(slice_, {}, lambda kind, _, name: events.append((kind, name)), 0.01)  # type: ignore[arg-type]
    stepped.machine.fail("a")
    dead = {"a": stepped.loop.slice.lives()["a"]}
    assert not dead["a"].alive
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        watch.check(dead, time.monotonic())
        time.sleep(0.002)
    assert 2 <= len(slice_.tried) <= 8  # every 2 ms without back-off
    assert events[0] == ("service_died", "a")
    assert events.count(("service_died", "a")) == 1
    assert ("restart_failed", "a") in events


def test_never_means_never(stepped: Stepped) -> None:
    slice_ = Failing()
    watch = Supervisor(slice_, {"a": "restart: never"}, lambda *_: None)  # type: ignore[arg-type]
    stepped.machine.fail("a")
    dead = {"a": stepped.loop.slice.lives()["a"]}
    watch.check(dead, time.monotonic())
    time.sleep(0.6)
    assert "never" in watch.check(dead, time.monotonic())[0]
    assert slice_.tried == []


# Pace and history


def test_pace_skips_what_it_missed_and_keeps_its_grid() -> None:
    pace, stop = Pace(0.05), threading.Event()
    pace.start()
    due = pace._due
    assert pace.wait(stop)
    time.sleep(0.17)
    assert pace.wait(stop)
    assert pace.overruns >= 2
    assert (pace._due - due) / 0.05 == pytest.approx(round((pace._due - due) / 0.05))
    stop.set()
    assert not pace.wait(stop)


def test_slo_window_weighs_by_requests() -> None:
    history = History(("a",), 1.0, 5.0, 0.05)
    assert history.slo_ok(0) is None
    for late, rate in ((0.0, 100.0), (1.0, 1.0)):
        history.add(Moment(time.time(), 1.0, {"late": [late], "arrived_hz": [rate]}))
    assert history.slo_ok(0) is True
    assert history.late(0) == pytest.approx(1 / 101)
    history.add(Moment(time.time(), 1.0, {"late": [1.0], "arrived_hz": [10.0]}))
    assert history.slo_ok(0) is False
