"""Users' orders to one loop, and what becomes of those that the driver refuses, in stepped time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from edgewright.core.contracts import Outcome
from edgewright.core.errors import InputError
from edgewright.drivers.host import HostError, Limits
from edgewright.service.loops.fit import pins_that_fit
from edgewright.service.loops.loop import _nested
from edgewright.service.loops.orders import change, pin, refit, roll_back, set_capacity, set_load, unpin
from edgewright.service.loops.supervisor import Supervisor

from .conftest import until
from .stepped import SCENARIO, Stepped

MB = 1_000_000


def in_force(stepped: Stepped, service: str = "a") -> Limits:
    limits: Limits = stepped.loop.slice.host.usage(service).limits
    return limits


class Stubborn:
    """A host's `set_limits` that refuses while told to."""

    def __init__(self, stepped: Stepped) -> None:
        self.refuses, host = True, stepped.loop.slice.host
        self._set = host.set_limits
        host.set_limits = self.set_limits

    def set_limits(self, name: str, limits: Limits) -> Outcome:
        if self.refuses:
            return Outcome({}, dict.fromkeys(("cpu", "memory_bytes"), "it is being started or stopped"))
        return self._set(name, limits)


def test_a_new_policy_keeps_the_resized_chunk(stepped: Stepped) -> None:
    stepped.step()
    set_capacity(stepped.loop, 0.5, 300.0)
    change(stepped.loop, policy="threshold")
    assert stepped.loop.controller.scenario.slice.memory_mb == 300.0
    assert stepped.loop.controller.scenario.slice.cpu == 0.5


@pytest.mark.parametrize("policy", ["a\0.npz", "a" * 300 + ".npz", "\0"])
def test_a_policy_that_can_be_no_path(stepped: Stepped, policy: str) -> None:
    with pytest.raises(InputError, match="policy"):
        change(stepped.loop, policy=policy)


def test_an_old_decision_comes_back_within_the_chunk_of_today(stepped: Stepped) -> None:
    stepped.step()
    stepped.loop.recorder.flush()
    set_capacity(stepped.loop, 0.4, 300.0)
    limits, outcome = roll_back(stepped.loop, 1)
    assert not outcome.refused
    assert sum(in_force(stepped, name).memory_bytes or 0 for name in "ab") <= 300 * MB
    assert sum(in_force(stepped, name).cpu for name in "ab") <= 0.4 + 1e-9
    assert limits["a"]["memory_bytes"] == in_force(stepped).memory_bytes


@pytest.mark.parametrize("mode", ["paused", "shadow", "act"])
def test_a_refused_pin_is_tried_until_it_is_done(stepped: Stepped, mode: Any) -> None:
    stepped.step()
    change(stepped.loop, mode=mode)
    host = Stubborn(stepped)
    pin(stepped.loop, "a", 0.6)
    for _ in range(2):
        stepped.step()
        assert any("being started" in warning for warning in stepped.loop.warnings)
    assert in_force(stepped).cpu == pytest.approx(0.3)
    host.refuses = False
    stepped.step()
    assert in_force(stepped).cpu == pytest.approx(0.6)
    stepped.step()
    assert stepped.loop.warnings == []
    assert [kind for kind, _ in stepped.events()].count("refused") <= 2  # told once a resource, not at every step


def test_an_order_taken_back_is_not_tried_again(stepped: Stepped) -> None:
    stepped.step()
    change(stepped.loop, mode="paused")
    host = Stubborn(stepped)
    pin(stepped.loop, "a", 0.6)
    unpin(stepped.loop, "a")
    host.refuses = False
    stepped.step(2)
    assert in_force(stepped).cpu == pytest.approx(0.3)
    assert stepped.loop.warnings == []


def test_memory_refused_at_a_smaller_chunk_shrinks_later(stepped: Stepped) -> None:
    """EBUSY while more is in use; the policy leaves memory alone."""
    stepped.step()
    host = Stubborn(stepped)
    set_capacity(stepped.loop, None, 300.0)
    host.refuses = False
    stepped.step()
    assert sum(in_force(stepped, name).memory_bytes or 0 for name in "ab") <= 300 * MB


@pytest.mark.parametrize("phase", ["starting", "failed"])
def test_orders_before_the_services_run_are_what_they_start_with(stepped: Stepped, phase: Any) -> None:
    loop = stepped.loop
    for name in "ab":
        loop.slice.host.stop(name)
    loop.phase = phase
    set_capacity(loop, 0.5, 300.0)
    pin(loop, "a", 0.35)
    assert loop.limits["a"].cpu == pytest.approx(0.35)
    assert loop._start_slice()
    assert in_force(stepped).cpu == pytest.approx(0.35)
    stepped.step()
    assert in_force(stepped, "b").cpu <= 0.15 + 1e-9


@pytest.mark.parametrize("mode", ["paused", "shadow"])
def test_adopted_limits_above_the_chunk_shrink_in_every_mode(stepped: Stepped, mode: Any) -> None:
    loop = stepped.loop
    loop.orders.mode = mode
    loop.controller.scenario = SCENARIO.model_copy(
        update={"slice": SCENARIO.slice.model_copy(update={"cpu": 0.4, "memory_mb": 300.0})}
    )
    loop.orders.pins = {"a": 0.25}
    refit(loop)
    assert sum(limit.memory_bytes or 0 for limit in loop.limits.values()) <= 300 * MB
    assert loop._start_slice()  # what runs keeps what it had
    assert in_force(stepped).cpu == pytest.approx(0.3)
    stepped.step()
    assert in_force(stepped).cpu == pytest.approx(0.25)
    assert in_force(stepped, "b").cpu == pytest.approx(0.15)
    assert sum(in_force(stepped, name).memory_bytes or 0 for name in "ab") <= 300 * MB


def test_the_guard_keeps_pins_within_the_slice(stepped: Stepped) -> None:
    stepped.step()
    controller = stepped.loop.controller
    controller.pins = {"a": 0.8, "b": 0.8}
    seen = stepped.loop.observation
    assert seen is not None
    assert controller.step(seen).allowed.cpu.sum() <= 1.0 + 1e-9


def test_pins_that_fit() -> None:
    assert pins_that_fit(SCENARIO, {"a": 0.5, "b": 0.4}) == {"a": 0.5, "b": 0.4}
    assert pins_that_fit(SCENARIO, {"a": 0.8, "b": 0.4}) == {"b": 0.4}
    assert pins_that_fit(SCENARIO, {}) == {}


def test_a_lifted_memory_limit_is_no_error(stepped: Stepped) -> None:
    assert _nested({"a.memory_bytes": None, "a.cpu": 0.5}) == {"a": {"memory_bytes": None, "cpu": 0.5}}
    host = stepped.loop.slice.host
    host.set_limits("a", Limits(0.3, None))
    stepped.step()
    pin(stepped.loop, "a", 0.5)
    assert stepped.loop.limits["a"].cpu == pytest.approx(0.5)


# Load


def test_a_refused_load_does_not_come_true_later(stepped: Stepped) -> None:
    set_load(stepped.loop, {"a": 2.0})
    stepped.offer_fails = True
    with pytest.raises(HostError):
        set_load(stepped.loop, {"a": 9.0})
    stepped.offer_fails = False
    stepped.loop.slice.set_load({})  # as when the generator comes back
    assert stepped.offered == {"a": 2.0, "b": 1.0}


def test_load_that_nothing_offers(stepped: Stepped) -> None:
    """Of a service measured by a probe, of a slice without a load generator."""
    stepped.loop.slice.loaded = ("b",)
    with pytest.raises(InputError, match="'b'"):
        set_load(stepped.loop, {"a": 2.0})
    stepped.loop.slice.loaded = ()
    stepped.offer_fails = True
    assert stepped.loop._start_slice()
    assert stepped.loop.warnings == []


# Trouble of every kind


def test_any_error_at_a_start_is_told_and_tried_again(stepped: Stepped, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[Exception] = [ValueError("embedded null byte"), RuntimeError("database is locked")]

    def started() -> None:
        if failures:
            raise failures.pop(0)

    loop = stepped.loop
    loop.on_started, loop.phase = started, "starting"
    monkeypatch.setattr("edgewright.service.loops.loop.START_AGAIN_S", 0.02)
    loop.start()
    until(lambda: loop.phase == "running")
    loop.close()
    assert [kind for kind, _ in stepped.events() if kind == "start_failed"] == ["start_failed"] * 2
    assert loop.phase == "stopped"


def test_any_error_at_a_restart_waits_longer(stepped: Stepped) -> None:
    class Broken:
        tried = 0

        def restart(self, name: str) -> None:
            self.tried += 1
            raise ValueError("embedded null byte")

    slice_, events = Broken(), []
    watch = Supervisor(slice_, {}, lambda kind, *_: events.append(kind), 0.02)  # type: ignore[arg-type]
    stepped.machine.fail("a")
    dead = {"a": stepped.loop.slice.lives()["a"]}
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        watch.check(dead, time.monotonic())
        time.sleep(0.002)
    assert 2 <= slice_.tried <= 6
    assert events.count("restart_failed") == slice_.tried


def test_one_service_that_cannot_be_read_does_not_blind_the_others(stepped: Stepped) -> None:
    stepped.step()
    host = stepped.loop.slice.host
    usage = host.usage

    def blind(name: str) -> Any:
        if name == "a":
            raise HostError("a", "its control group is gone")
        return usage(name)

    host.usage = blind
    body = stepped.step(2)
    assert body["observation"]["b"]["arrived_hz"] > 0
    assert np.isfinite(body["limits"]["a"]["cpu"])
    assert not stepped.loop.lives["a"].alive
    assert stepped.loop.lives["b"].alive
    assert any("control group is gone" in warning for warning in stepped.loop.warnings)
    assert not any(kind == "step_failed" for kind, _ in stepped.events())


def test_a_slice_whose_sources_do_not_close_ends_its_services(stepped: Stepped) -> None:
    def stuck() -> None:
        raise TimeoutError

    stepped.loop.slice._driver.close = stuck
    with pytest.raises(TimeoutError):
        stepped.loop.slice.close()
    assert stepped.machine.processes == {}
