"""What is no array stays where it is when a twin is taken apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from edgewright.core.contracts import Discrete, TwinSpec
from edgewright.learning.parts import Parts


class Plain(NamedTuple):
    spec: TwinSpec
    table: Any
    factor: float


def test_a_named_tuple_keeps_its_spec() -> None:
    twin = Plain(TwinSpec("plain", ("one",), 1, Discrete(2), 3), np.arange(3), 2.0)
    parts, arrays = Parts.of((twin, object))
    assert [np.shape(array) for array in arrays] == [(3,), ()]
    again, other = parts.with_arrays([array * 2 for array in arrays])
    assert (again.spec, again.table.tolist(), again.factor, other) == (twin.spec, [0, 2, 4], 4.0, object)
    assert hash(parts) == hash(Parts.of((twin, object))[0])
    jax.jit(lambda arrays: parts.with_arrays(arrays)[0].table)(arrays)
