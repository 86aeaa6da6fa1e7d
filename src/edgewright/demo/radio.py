"""A radio map: received signal strengths at known positions, drawn from the log-distance model.

Path loss: Rappaport, Wireless Communications, 2nd ed., eq. 4.69: a reference loss, an exponent, log-normal shadowing.
Shadowing is fixed per access point and place (a mix of random plane waves, so that near places see alike);
fading is drawn anew for each measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
AREA_M = 100.0
WAVES = 32
SHADOWING_DB, CORRELATION_M, FADING_DB = 4.0, 15.0, 2.0
POWER_DBM, REFERENCE_LOSS_DB, EXPONENT = 20.0, 40.0, 3.0  # 2.4 GHz indoors, reference at 1 m
FLOOR_DBM = -100.0


@dataclass(frozen=True)
class RadioWorld:
    """Access points in a square of AREA_M, and their shadowing. Everything follows from the seed."""

    access_points_m: FloatArray  # [A, 2]
    waves: FloatArray  # [2, WAVES], radians per metre
    phases: FloatArray  # [WAVES]
    mix_db: FloatArray  # [WAVES, A]

    @staticmethod
    def generate(seed: int, access_points: int = 48) -> RadioWorld:
        rng = np.random.default_rng([seed, 0])
        return RadioWorld(
            rng.uniform(0, AREA_M, (access_points, 2)),
            rng.normal(0, 1 / CORRELATION_M, (2, WAVES)),
            rng.uniform(0, 2 * np.pi, WAVES),
            rng.normal(0, SHADOWING_DB * np.sqrt(2 / WAVES), (WAVES, access_points)),
        )

    def rss_dbm(self, positions_m: FloatArray, rng: np.random.Generator) -> FloatArray:
        """What a terminal hears at each of [N, 2] positions -> [N, A], at least FLOOR_DBM."""
        x_m, y_m = (positions_m[:, [axis]] - self.access_points_m[:, axis] for axis in (0, 1))
        distance_m = np.maximum(1.0, np.hypot(x_m, y_m))
        shadowing_db = np.cos(positions_m @ self.waves + self.phases) @ self.mix_db
        path_loss_db = REFERENCE_LOSS_DB + 10 * EXPONENT * np.log10(distance_m) + shadowing_db
        heard = POWER_DBM - path_loss_db + rng.normal(0, FADING_DB, path_loss_db.shape)
        return np.maximum(FLOOR_DBM, heard)

    def survey(self, count: int, seed: Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """`count` measurements at uniform places -> rss_dbm [N, A], positions_m [N, 2]."""
        rng = np.random.default_rng([*seed, 1])
        positions_m = rng.uniform(0, AREA_M, (count, 2))
        return self.rss_dbm(positions_m, rng), positions_m
