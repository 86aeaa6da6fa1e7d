"""The example of an order, as a reader runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "order" / "order.py"


@pytest.mark.real
def test_order(require: Callable[..., None]) -> None:
    require("cgroup-cpu", "cgroup-memory")
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is left behind" in done.stdout
