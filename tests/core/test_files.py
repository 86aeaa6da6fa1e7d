"""Files that more than one writes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from edgewright.core.files import locked


def test_a_locked_file_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    inside, most = 0, 0

    def hold() -> None:
        nonlocal inside, most
        with locked(tmp_path / "one.lock"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.02)
            inside -= 1

    threads = [threading.Thread(target=hold) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)
