"""The same CPU is never promised twice; a refused booking changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.core.errors import CapacityError, InputError
from edgewright.core.ledger import TOLERANCE, Ledger

amounts = st.fixed_dictionaries({"cpu": st.floats(0, 4), "memory_bytes": st.floats(0, 4e9)})


@given(st.lists(st.tuples(st.sampled_from("abcd"), amounts, st.booleans()), max_size=30))
def test_never_over_capacity(operations: list[tuple[str, dict[str, float], bool]]) -> None:
    ledger = Ledger({"cpu": 4.0, "memory_bytes": 4e9})
    for owner, wanted, release in operations:
        before = {name: ledger.booked(name) for name in ledger.owners}
        try:
            ledger.release(owner) if release else ledger.book(owner, wanted)
        except CapacityError:
            assert {name: ledger.booked(name) for name in ledger.owners} == before
        for resource in ("cpu", "memory_bytes"):
            assert ledger.left(resource) >= -TOLERANCE


def test_rebooking_replaces() -> None:
    ledger = Ledger({"cpu": 1.0})
    ledger.book("a", {"cpu": 0.9})
    ledger.book("a", {"cpu": 1.0})
    assert ledger.left("cpu") == pytest.approx(0)
    with pytest.raises(CapacityError):
        ledger.book("b", {"cpu": 0.1})
    ledger.release("a")
    ledger.book("b", {"cpu": 0.1})


@pytest.mark.parametrize("wanted", [{"cpu": -1.0}, {"cpu": float("nan")}, {"gpu": 1.0}])
def test_bad_amounts(wanted: dict[str, float]) -> None:
    ledger = Ledger({"cpu": 1.0})
    with pytest.raises(InputError):
        ledger.book("a", wanted)
    assert ledger.owners == ()
