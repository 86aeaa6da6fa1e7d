"""Twins that are pytrees taken apart, so that a compiled program gets their arrays as arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from edgewright.core.contracts import Twin

Array = Any

_ARRAY = "an array"


@dataclass(frozen=True)
class Parts:
    """Of a tree of twins all but the arrays."""

    structure: Any
    leaves: tuple[Any, ...]  # _ARRAY, or a twin that is no pytree itself

    @classmethod
    def of(cls, twins: Any) -> tuple[Parts, list[Array]]:
        leaves, structure = jax.tree.flatten(twins)
        arrays = [leaf for leaf in leaves if not isinstance(leaf, Twin)]
        return cls(structure, tuple(leaf if isinstance(leaf, Twin) else _ARRAY for leaf in leaves)), arrays

    def with_arrays(self, arrays: Sequence[Array]) -> Any:
        rest = iter(arrays)
        return self.structure.unflatten([next(rest) if leaf is _ARRAY else leaf for leaf in self.leaves])
