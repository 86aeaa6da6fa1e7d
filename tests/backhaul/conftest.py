"""A test that needs a feature of the kernel asks for it; without it the test skips with the exact reason."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from edgewright.drivers.capabilities import probe_one


@pytest.fixture(scope="session")
def require() -> Callable[[str], None]:
    """As in tests/drivers: a missing feature skips, or fails with EDGEWRIGHT_REQUIRE_REAL=1."""

    def check(name: str) -> None:
        found = probe_one(name)
        if not found.available:
            refuse = pytest.fail if os.environ.get("EDGEWRIGHT_REQUIRE_REAL") == "1" else pytest.skip
            refuse(f"{found.title}: {found.reason}")

    return check
