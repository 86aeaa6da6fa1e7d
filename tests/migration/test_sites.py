"""A service that outlives its orchestrator, on edge nodes of this host."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

import edgewright
from edgewright.drivers.linux.criu import CriuMissing, obtain
from edgewright.drivers.linux.edge import Edge
from edgewright.drivers.linux.leftovers import kept_edge, reconcile
from edgewright.drivers.linux.namespaces import FOLDER
from edgewright.migration.model import SHIPPED, Scenario, read_scenario
from edgewright.migration.sites import SERVICE, LiveSite

pytestmark = pytest.mark.real
PHASES = ("preflight", "pre_copy", "copy", "restore", "resume", "hand_over", "clean_up")
CRASHED = """
import os, signal, sys
from edgewright.drivers.linux.namespaces import FOLDER
from edgewright.migration.model import SHIPPED, read_scenario
from edgewright.migration.sites import SERVICE, LiveSite
key, phase, memory_mb = sys.argv[1:]
def at(now):
    if now == phase: os.kill(os.getpid(), signal.SIGKILL)
site = LiveSite(read_scenario(SHIPPED / "highway.yaml"), 0, memory_mb=int(memory_mb), step_s=1.0, key=key)
print(site.migrator.process(SERVICE).pid, flush=True)
site.migrate(1, at)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def highway(require: Callable[..., None]) -> Scenario:
    with contextlib.suppress(CriuMissing):  # the capability says why
        obtain()
    require("criu")
    return read_scenario(SHIPPED / "highway.yaml")


@pytest.fixture
def key() -> Iterator[str]:
    key = uuid4().hex
    yield key
    reconcile()


def crash(key: str, phase: str, memory_mb: int = 2) -> int:
    """An orchestrator that dies at this phase of a migration from the first node to the second -> the service's pid"""
    environment = os.environ | {"PYTHONPATH": str(Path(edgewright.__file__).parents[1])}
    command = [sys.executable, "-c", CRASHED, key, phase, str(memory_mb)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return int(done.stdout)


def copies(edge: Edge) -> int:
    """How many processes there are in the nodes' namespaces."""
    nodes = {(FOLDER / edge.namespace(node)).stat().st_ino for node in edge.nodes}
    found = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found += (entry / "ns/net").stat().st_ino in nodes
    return found


@pytest.mark.parametrize("phase", [*PHASES, "none"])
def test_a_service_outlives_its_orchestrator(highway: Scenario, key: str, phase: str) -> None:
    pid = crash(key, phase)
    reconcile([key])
    with contextlib.closing(LiveSite(highway, 2, memory_mb=2, step_s=1.0, key=key)) as site:
        there = 0 if phase in PHASES[:4] else 1
        assert site.found.endswith(f"the service ran on at {highway.names[there]}")
        assert (f"stopped at `{phase}`" in site.found) == (phase not in ("preflight", "none"))
        assert site.where() == there
        assert copies(site.migrator.edge) == 1
        assert (site.migrator.process(SERVICE).pid == pid) == (there == 0)
        assert site.migrate(2).migration.status == "done"
        assert site.finish().connections_lost == 0
    assert not site.migrator.edge.is_there(highway.names[0])


def test_only_what_fits_is_taken_over(highway: Scenario, key: str) -> None:
    pid = crash(key, "none", memory_mb=3)
    with kept_edge(highway.names[:2], key) as (edge, _):  # other nodes
        assert edge.nodes == highway.names[:2]
    for other, memory_mb in ((uuid4().hex, 3), ("", 3), (key, 2)):
        with contextlib.closing(LiveSite(highway, 2, memory_mb=memory_mb, step_s=1.0, key=other)) as site:
            assert (site.found, site.where()) == ("", 2)
            assert site.migrator.process(SERVICE).pid != pid


def test_one_takes_over_and_nobody_removes_it_then(highway: Scenario, key: str) -> None:
    crash(key, "none")
    with kept_edge(highway.names, key) as (edge, folder), kept_edge(highway.names, key) as (another, _):
        assert another != edge
        reconcile()
        assert folder.exists()
        assert edge.is_there(highway.names[0])
    assert not folder.exists()
    assert not edge.is_there(highway.names[0])
