"""Round trips between namespaces are as long as they are made."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from edgewright.drivers.linux.edge import EdgeNetwork
from edgewright.drivers.linux.probes import Probes, Responders

pytestmark = pytest.mark.real


def test_round_trips_are_those_that_are_set(require: Callable[..., None]) -> None:
    require("network-emulation")
    with EdgeNetwork(("a", "b", "c")) as network, Responders(network.edge) as responders:
        responders.delay_ms = [0.0, 8.0, 25.0]
        with Probes(network.edge, period_s=0.05) as probes:
            time.sleep(0.5)
            near, middle, far = probes.mean_ms()
            assert near < 6.0
            assert 8.0 <= middle < 14.0
            assert 25.0 <= far < 31.0
            responders.delay_ms = [25.0, 8.0, 0.0]
            time.sleep(0.5)
            assert probes.mean_ms()[2] < 6.0 < 25.0 <= probes.mean_ms()[0]


def test_probes_do_not_wait_for_each_other(require: Callable[..., None]) -> None:
    require("network-emulation")
    with EdgeNetwork(("a",)) as network, Responders(network.edge) as responders:
        responders.delay_ms = [60.0]
        with Probes(network.edge, period_s=0.02) as probes:
            time.sleep(1.0)
            assert 60.0 <= probes.mean_ms()[0] < 75.0


def test_no_answer_counts_as_the_time_out(require: Callable[..., None]) -> None:
    require("network-emulation")
    with EdgeNetwork(("a",)) as network, Probes(network.edge, period_s=0.02, timeout_s=0.1) as probes:
        assert probes.mean_ms().tolist() == [100.0]
