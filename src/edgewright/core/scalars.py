"""numpy's names for Python floats: a formula over `xp` then runs on one service at a time.

numpy takes 0.5 to 2 us per operation however short the array; Python a twentieth of that per float. As in numpy,
what is undefined is nan or infinite, not an exception.
"""

from __future__ import annotations

import math

inf, nan = math.inf, math.nan


def log(x: float) -> float:
    return math.log(x) if x > 0 else -inf if x == 0 else nan


def log2(x: float) -> float:
    return math.log2(x) if x > 0 else -inf if x == 0 else nan


def sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0 else nan


def minimum(a: float, b: float) -> float:
    return b if b < a or b != b else a


def maximum(a: float, b: float) -> float:
    return b if b > a or b != b else a


def clip(x: float, low: float, high: float) -> float:
    return low if x < low else high if x > high else x
