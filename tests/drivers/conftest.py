"""Edge nodes in network namespaces, here and on another host, with services that really move."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sites import NODES, FarSite, Site
from sshd import Server, server

from edgewright.drivers.linux.criu import CriuMissing, obtain
from edgewright.drivers.linux.criu_migrator import CriuMigrator
from edgewright.drivers.linux.edge import EdgeNetwork


@pytest.fixture(scope="module")
def network(require: Callable[..., None]) -> Iterator[EdgeNetwork]:
    criu_here()
    require("criu")
    with EdgeNetwork(NODES) as made:
        yield made


@pytest.fixture
def site(network: EdgeNetwork) -> Iterator[Site]:
    with migrating(network) as (migrator, folder):
        yield Site(network, migrator, folder)


@pytest.fixture(scope="module")
def far_network(require: Callable[..., None]) -> Iterator[tuple[EdgeNetwork, Server]]:
    """Node b lives on another host, which only ssh reaches."""
    criu_here()
    require("criu", "sshd")
    with EdgeNetwork(NODES) as network, server() as made:
        network.edge = replace(network.edge, hosts={"b": made.host})
        yield network, made


@pytest.fixture
def far_site(far_network: tuple[EdgeNetwork, Server]) -> Iterator[FarSite]:
    network, far = far_network
    with migrating(network) as (migrator, folder):
        yield FarSite(network, migrator, folder, far)


def criu_here() -> None:
    with contextlib.suppress(CriuMissing):  # the capability says why
        obtain()


@contextlib.contextmanager
def migrating(network: EdgeNetwork) -> Iterator[tuple[CriuMigrator, Path]]:
    """A migrator, and the folder of its images, in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="edgewright-test-") as name:
        migrator = CriuMigrator(network.edge, Path(name))
        try:
            yield migrator, Path(name)
        finally:
            migrator.close()
