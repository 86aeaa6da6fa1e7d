"""Point processes: beside R's spatstat in the same run, memory of ten million points, and Ripley's K.

    python benchmarks/topology.py [--quick] [--out FILE]

Needs `Rscript` with the package spatstat (Debian: r-cran-spatstat) for the comparison; goes on without. Each method
runs in turn with the other; ratios are of medians. spatstat's own `rMaternII` looks at all pairs, of which an integer
counts those of 46,340 points at most; so the largest are compared with what one can build of its fast parts: `rpoispp`,
`closepairs`, and deleting by marks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgewright.topology import processes
from edgewright.topology.processes import KM2, Bounded
from edgewright.topology.regions import Window
from edgewright.topology.statistics import ripley_k

WORKER = """
suppressMessages(library(spatstat))
cat("ready", as.character(packageVersion("spatstat")), "\\n")
square <- function(side, more = 0) owin(c(-more, side + more), c(-more, side + more))
maternII <- function(density, r, side) {
  X <- rpoispp(density, win = square(side, r))
  near <- closepairs(X, r, twice = FALSE, what = "indices")
  mark <- runif(npoints(X))
  kept <- rep(TRUE, npoints(X))
  first <- mark[near$i] < mark[near$j]
  kept[near$j[first]] <- FALSE
  kept[near$i[!first]] <- FALSE
  X[kept][square(side)]
}
slope <- function(x, y) 2 * density * x / side
input <- file("stdin", "r")
while (length(line <- readLines(input, 1))) {
  gc(FALSE)
  began <- proc.time()
  found <- try(eval(parse(text = line)), silent = TRUE)
  took <- proc.time() - began
  if (inherits(found, "try-error")) cat("failed", gsub("\\n", " ", conditionMessage(attr(found, "condition"))), "\\n")
  else cat("done", took[["user.self"]] + took[["sys.self"]], took[["elapsed"]], as.numeric(found), "\\n")
}
"""
MEMORY = """
import resource
import numpy as np
from edgewright.topology import processes
from edgewright.topology.regions import Window
density, rng = 1e7 / 1e4, np.random.default_rng(0)
window = Window.box(0, 0, 1e5, 1e5)
{draw}
print(len(xy), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
DRAWS = {
    "poisson": "xy = processes.poisson(window, density, rng)",
    "matern-ii": "xy = processes.matern_ii(window, density, (1e6 / density / np.pi) ** 0.5, rng)",
}


class Spatstat:
    """R in a process of its own, an expression after the other."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["Rscript", "-e", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        told = self._line()
        if told[:1] != ["ready"]:
            raise OSError("no R package spatstat")
        self.version = told[1]

    def _line(self) -> list[str]:
        assert self.process.stdout
        return self.process.stdout.readline().split()

    def __call__(self, expression: str) -> tuple[float, float, float]:
        """CPU and wall seconds, and the number it gives. Raises RuntimeError with what R says."""
        assert self.process.stdin
        self.process.stdin.write(expression.replace("\n", " ") + "\n")
        self.process.stdin.flush()
        state, *told = self._line()
        if state != "done":
            raise RuntimeError(" ".join(told))
        cpu, wall, value = map(float, told)
        return cpu, wall, value


def ours(method: Callable[[], float]) -> tuple[float, float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    value = method()
    return time.process_time() - cpu, time.perf_counter() - wall, value


def beside(name: str, method: Callable[[], float], r: Spatstat | None, expression: str, runs: int) -> dict[str, Any]:
    """Medians of `runs` runs of each in turn, after one of ours that compiles and one of R's."""
    row: dict[str, Any] = {"name": name, "runs": runs}
    method()
    own, other = [], []
    try:
        if r and runs > 1:
            r(expression)
        for _ in range(runs):
            own.append(ours(method))
            if r:
                other.append(r(expression))
    except RuntimeError as error:
        row["spatstat_failed"] = str(error)
    parts = {"ours": own} | ({"spatstat": other} if other else {})
    for whose, times in parts.items():
        for k, what in enumerate(("cpu_s", "wall_s", "value")):
            row[f"{whose}_{what}"] = median(run[k] for run in times)
    told = f"{name:58s} ours {row['ours_cpu_s']:8.3f} s CPU {row['ours_wall_s']:8.3f} s wall"
    if other:
        row |= {f"ratio_{what}": row[f"spatstat_{what}_s"] / row[f"ours_{what}_s"] for what in ("cpu", "wall")}
        told += f", spatstat {row['spatstat_cpu_s']:8.3f} and {row['spatstat_wall_s']:8.3f}: "
        told += f"ratio {row['ratio_cpu']:.1f} CPU, {row['ratio_wall']:.1f} wall"
        told += f" ({row['ours_value']:.5g} and {row['spatstat_value']:.5g})"
    elif r:
        told += f", spatstat fails: {row['spatstat_failed']}"
    print(told, flush=True)
    return row


def comparisons(r: Spatstat | None, runs: int, most: int) -> list[dict[str, Any]]:
    rows = []
    per_m2, rng = 1e-4, np.random.default_rng(0)

    def window(points: float) -> Window:
        side = np.sqrt(points / per_m2)
        return Window.box(0, 0, side, side)

    def matern(points: float, r_m: float) -> Callable[[], float]:
        here = window(points)
        return lambda: len(processes.matern_ii(here, per_m2 * KM2, r_m, rng))

    def run(name: str, method: Callable[[], float], points: float, expression: str, times: int = runs) -> None:
        if r:
            r(f"{{density <- {per_m2!r}; side <- {float(np.sqrt(points / per_m2))!r}; 0}}")
        rows.append(beside(name, method, r, expression, times))

    for points in (1_000, 5_000, 20_000, 50_000):
        if points > most:
            continue
        r_m = float(np.sqrt(1 / (np.pi * per_m2)))
        expression = f"npoints(rMaternII(density, {r_m!r}, win = square(side)))"
        times = runs if points <= 5_000 else 1
        run(f"Matern II, {points} points, mean 1 (rMaternII)", matern(points, r_m), points, expression, times)
    for mean in (1, 4):
        r_m = float(np.sqrt(mean / (np.pi * per_m2)))
        expression = f"npoints(maternII(density, {r_m!r}, side))"
        name = f"Matern II, {most} points, mean {mean} (rpoispp + closepairs)"
        run(name, matern(most, r_m), most, expression)
    here = window(most)
    even = f"Poisson, {most} points (rpoispp)"
    run(
        even,
        lambda: len(processes.poisson(here, per_m2 * KM2, rng)),
        most,
        "npoints(rpoispp(density, win = square(side)))",
    )
    side = here.bounds[2]
    slope = Bounded(lambda xy: 2 * per_m2 / side * xy[:, 0], 2 * per_m2)
    run(
        f"Poisson on a slope, {most} points (rpoispp)",
        lambda: len(slope.poisson(here, 1.0, rng)),
        most,
        "npoints(rpoispp(slope, lmax = 2 * density, win = square(side)))",
    )
    return rows


def k_function(r: Spatstat | None, runs: int, points: int, folder: Path) -> dict[str, Any]:
    """Of the same points, up to 1 km at 12 per km^2; the value is K at the last radius."""
    side = float(1e3 * np.sqrt(points / 12))
    window = Window.box(0, 0, side, side)
    xy = processes.poisson(window, 12.0, np.random.default_rng(1))
    radii = np.linspace(0, 1_000, 513)[1:]
    file = folder / "topology-points.csv"
    np.savetxt(file, xy, delimiter=",")
    if r:
        r(f"{{at <- as.matrix(read.csv('{file.resolve()}', header = FALSE)); side <- {side!r}; 0}}")
        r("{pattern <- ppp(at[, 1], at[, 2], window = square(side)); 0}")
    expression = (
        "tail(Kest(pattern, r = seq(0, 1000, length.out = 513), correction = 'translate', nlarge = Inf)$trans, 1)"
    )
    row = beside(f"Ripley's K, {len(xy)} points", lambda: float(ripley_k(xy, window, radii)[-1]), r, expression, runs)
    file.unlink()
    return row


def memory() -> list[dict[str, Any]]:
    rows = []
    for name, draw in DRAWS.items():
        told = subprocess.run(
            [sys.executable, "-c", MEMORY.format(draw=draw)], check=True, capture_output=True, text=True
        ).stdout.split()
        points, peak_gib = int(told[0]), float(told[1])
        rows.append({"name": name, "drawn": 10_000_000, "points": points, "peak_gib": peak_gib})
        print(f"memory: {name}, 10000000 points drawn, {points} left: peak {peak_gib:.2f} GiB", flush=True)
        assert peak_gib * 2**30 < 4e9
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/topology.json"))
    parser.add_argument("--quick", action="store_true", help="few and small: to see that it runs")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    r = None
    try:
        if not shutil.which("Rscript"):
            raise OSError("no Rscript")
        r = Spatstat()
        print(f"spatstat {r.version}")
    except OSError as error:
        print(f"{error} on this host (Debian: r-cran-spatstat): our numbers alone")
    runs, most = (1, 5_000) if options.quick else (5, 1_000_000)
    result: dict[str, Any] = {
        "spatstat": r.version if r else None,
        "comparisons": comparisons(r, runs, most),
        "k": k_function(r, runs, 2_000 if options.quick else 43_000, options.out.parent),
        "memory": memory(),
    }
    options.out.write_text(json.dumps(result, indent=1))
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()
