"""A live drive as it is told: a line a step, a figure that grows, and at the end what it came to, also as files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.files import replacing
from edgewright.migration.figures import over_drive
from edgewright.migration.live import Trip, drive_live
from edgewright.migration.model import Drive, Scenario
from edgewright.migration.optimum import optimum
from edgewright.migration.policies import make_policy

REDRAW = 10  # steps between two figures


def follow(
    scenario: Scenario, drive: Drive, name: str, pace: float, memory_mb: int, out: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Drive live under the policy of that name -> what it came to; `out` gets trace.csv, summary.json and drive.png."""
    policy = make_policy(name, scenario)
    label, figure = Path(name).stem, out / "drive.png"
    with ProcessPoolExecutor(1, get_context("spawn")) as painter:  # drawing must not hold up the client
        drawn: list[Future[Path]] = []

        def step(trip: Trip) -> None:
            say(line(trip))
            if len(trip.steps) % REDRAW == 0 and (not drawn or drawn[-1].done()):
                problem, solution = trip.solution
                drawn.append(painter.submit(over_drive, problem, scenario.names, {label: solution}, figure))

        trip = drive_live(scenario, drive, policy, pace=pace, memory_mb=memory_mb, on_step=step)
    problem, solution = trip.solution
    best = optimum(problem)
    over_drive(problem, scenario.names, {label: solution, "the best": best}, figure)
    told = summary(trip, label) | {"reward": solution.value, "optimum": best.value, "breaches": solution.breaches}
    with replacing(out / "trace.csv") as new:
        new.write_text(trace(trip), encoding="utf-8")
    with replacing(out / "summary.json") as new:
        new.write_text(json.dumps(told, indent=1), encoding="utf-8")
    for text in in_words(told):
        say(text)
    say(f"{out}: drive.png, trace.csv, summary.json")
    return told


def line(trip: Trip) -> str:
    """The last step in a line."""
    now, names = trip.steps[-1], trip.scenario.names
    nodes = "   ".join(
        f"{'*' if i == now.node else ' '}{name} {rtt:5.1f} ms {load:4.1f}"
        for i, (name, rtt, load) in enumerate(zip(names, now.rtt_ms, now.load, strict=True))
    )
    goes = f"  -> {names[now.target]}" if now.target != now.node else ""
    return f"{now.time_s:5.0f} s  {nodes}{goes}  {now.reason}"


def summary(trip: Trip, policy: str) -> dict[str, Any]:
    watched = trip.watched
    assert watched is not None
    return {
        "policy": policy,
        "scenario": trip.scenario.name,
        "answers": watched.answers,
        "connections_lost": watched.connections_lost,
        "answers_lost": watched.lost + watched.unanswered,
        "migrations": [
            {
                "time_s": one.time_s,
                "source": one.migration.source,
                "target": one.migration.target,
                "status": one.migration.status,
                "reason": one.migration.reason,
                "total_s": one.migration.total_s,
                "frozen_s": one.migration.frozen_s,
                "client_gap_s": one.gap_s,
                "image_bytes": one.migration.image_bytes,
            }
            for one in trip.moves
        ],
    }


def in_words(told: dict[str, Any]) -> list[str]:
    rows = told["migrations"]
    lines = [
        f"{row['time_s']:5.0f} s  {row['source']} -> {row['target']}: {row['status']}"
        f"{', ' + row['reason'] if row['reason'] else ''}; frozen {1e3 * row['frozen_s']:.0f} ms,"
        f" longest wait of the client {1e3 * row['client_gap_s']:.0f} ms, {row['image_bytes'] / 1e6:.0f} MB"
        for row in rows
    ]
    if rows:
        waits = 1e3 * np.array([row["client_gap_s"] for row in rows])
        frozen = 1e3 * np.array([row["frozen_s"] for row in rows])
        lines.append(
            f"{len(rows)} migrations: longest wait of the client {np.median(waits):.0f} ms in the median, at most"
            f" {waits.max():.0f} ms; frozen {np.median(frozen):.0f} and {frozen.max():.0f} ms"
        )
    lines.append(
        f"{told['answers']} answers, {told['connections_lost']} connections lost, {told['answers_lost']} answers lost"
        " or out of order"
    )
    lines.append(
        f"reward {told['reward']:.1f}, {told['breaches']} steps in breach; with all of the drive known"
        f" {told['optimum']:.1f} could have been earned"
    )
    return lines


def trace(trip: Trip) -> str:
    """Every step: what was seen, decided, and why."""
    text = io.StringIO()
    writer = csv.writer(text)
    names = trip.scenario.names
    writer.writerow(
        ["t_s", *(f"rtt_ms_{name}" for name in names), *(f"load_{name}" for name in names), "node", "target", "reason"]
    )
    for one in trip.steps:
        numbers = [f"{value:.3f}" for value in (*one.rtt_ms, *one.load)]
        writer.writerow([f"{one.time_s:g}", *numbers, names[one.node], names[one.target], one.reason])
    return text.getvalue()
