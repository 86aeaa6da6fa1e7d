"""A test that needs a feature of this host asks for it; without it the test skips with the exact reason."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

import postgresql
from edgewright.drivers.capabilities import PROBES, probe_one

# A slow host is no fault of what is tested.
settings.register_profile("edgewright", deadline=None)
settings.load_profile("edgewright")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgres"),
        default="sqlite",
        help="where orchestrators keep their state: SQLite in their data folder, or a PostgreSQL that the tests start",
    )


def pytest_configure(config: pytest.Config) -> None:
    postgresql.used = config.getoption("database") == "postgres"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server of our own."""
    with postgresql.server() as address:
        yield address


@pytest.fixture(scope="session")
def require() -> Callable[..., None]:
    """`require("cgroup-cpu", ...)`; a missing feature fails the test where EDGEWRIGHT_REQUIRE_REAL names it.

    The variable holds names of `edgewright doctor` with commas, or 1 for all.
    """
    required = {name.strip() for name in os.environ.get("EDGEWRIGHT_REQUIRE_REAL", "").split(",")} - {""}
    if unknown := required - {"1", *PROBES}:
        raise pytest.UsageError(f"EDGEWRIGHT_REQUIRE_REAL: {sorted(unknown)}; there are 1 and {sorted(PROBES)}")
    probed = functools.cache(probe_one)

    def check(*names: str) -> None:
        for name in names:
            found = probed(name)
            if not found.available:
                refuse = pytest.fail if {name, "1"} & required else pytest.skip
                refuse(f"{found.title}: {found.reason}")

    return check
