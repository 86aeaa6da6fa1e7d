"""Small programs that tests run as services."""

from __future__ import annotations

import sys

PYTHON = (sys.executable, "-I", "-S", "-c")
SPIN = (*PYTHON, "x = bytearray(b'1' * 12_000_000)\nwhile True: pass")
IDLE = (*PYTHON, "import time; time.sleep(600)")
STUBBORN = (*PYTHON, "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")
FAMILY = (*PYTHON, "import os, time\nos.fork()\nif os.fork() == 0: os.setsid()\ntime.sleep(600)")


def grow(start_mb: int, then_mb: int) -> tuple[str, ...]:
    """Holds start_mb, and then_mb more once it gets SIGUSR1."""
    code = f"""
import signal, time
held = []
signal.signal(signal.SIGUSR1, lambda *_: held.append(bytearray(b"1" * {then_mb * 1_000_000})))
held.append(bytearray(b"1" * {start_mb * 1_000_000}))
while True: time.sleep(1)
"""
    return (*PYTHON, code)
