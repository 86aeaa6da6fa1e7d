"""Locks by name."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from edgewright.core.locks import NamedLocks


def test_one_at_a_time_of_a_name_and_none_stays() -> None:
    locks, inside, most = NamedLocks(), {"a": 0, "b": 0}, {"a": 0, "b": 0}

    def work(name: str) -> None:
        for _ in range(50):
            with locks.hold(name), locks.hold(name):  # by one thread again and again
                inside[name] += 1
                most[name] = max(most[name], inside[name])
                time.sleep(0.0002)
                inside[name] -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, "ababab"))
    assert most == {"a": 1, "b": 1}
    assert locks.names == []


def test_who_does_not_wait_any_longer_is_told() -> None:
    locks = NamedLocks()
    with ThreadPoolExecutor(1) as pool, locks.hold("a"):
        with pytest.raises(TimeoutError, match="a"):
            pool.submit(lambda: locks.hold("a", 0.01).__enter__()).result()
        with locks.hold("b", 0.01):
            assert locks.names == ["a", "b"]
    assert locks.names == []
