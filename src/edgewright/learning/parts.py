"""Twins that are pytrees taken apart, so that a compiled program gets their arrays as arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

Array = Any

_ARRAY = "an array"


@dataclass(frozen=True)
class Parts:
    """Of a tree of twins all but the arrays and numbers."""

    structure: Any
    leaves: tuple[Any, ...]  # _ARRAY, or what is none: a twin that is no pytree, for one

    @classmethod
    def of(cls, twins: Any) -> tuple[Parts, list[Array]]:
        leaves, structure = jax.tree.flatten(twins)
        told = tuple(_ARRAY if _is_array(leaf) else leaf for leaf in leaves)
        return cls(structure, told), [leaf for leaf in leaves if _is_array(leaf)]

    def with_arrays(self, arrays: Sequence[Array]) -> Any:
        rest = iter(arrays)
        return self.structure.unflatten([next(rest) if leaf is _ARRAY else leaf for leaf in self.leaves])


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") or isinstance(leaf, bool | int | float | complex)
