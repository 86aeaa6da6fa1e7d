"""Random search over a method's parameters: every method gets as many draws, on problems of their own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeVar

import numpy as np

Result = TypeVar("Result")


@dataclass(frozen=True)
class Range:
    low: float
    high: float
    logarithmic: bool = False
    whole: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        if self.whole:
            return int(rng.integers(int(self.low), int(self.high) + 1))
        if self.logarithmic:
            return float(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return float(rng.uniform(self.low, self.high))


def draws(space: Mapping[str, Range], trials: int, seed: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [{name: among.draw(rng) for name, among in space.items()} for _ in range(trials)]


def tried(
    run: Callable[[dict[str, float]], Result], drawn: Sequence[dict[str, float]], jobs: int | None
) -> Iterator[Result]:
    """What `run` finds for each, in their order, in `jobs` processes."""
    with ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        yield from pool.map(run, drawn)
