"""A filtered, sorted page of 20,000 services: by the index of scalars, and by reading all bodies.

    python benchmarks/resources.py [--services 20000] [--out FILE]

Each question is asked of a SQLite file by both in turn, with the same answer; numbers are medians, ratios of medians.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import parse_qsl

from sqlalchemy import select

from edgewright.service.resources.collection import Collection
from edgewright.service.resources.query import parse_query
from edgewright.service.store import Store
from edgewright.service.store.tables import ResourceRow

Json = dict[str, Any]
Naive = Callable[[list[Json]], list[Json]]


def service(n: int, rng: random.Random) -> Json:
    """Of 30 scalars."""
    site = f"site-{rng.randrange(200)}"
    return {
        "id": f"{n:08x}",
        "href": f"/tmf-api/serviceInventory/v4/service/{n:08x}",
        "@type": "Service",
        "name": f"service {rng.randrange(10**6)}",
        "description": "a service of a benchmark",
        "state": rng.choice(["designed", "reserved", "inactive", "active", "active", "active"]),
        "category": "CFS",
        "isBundle": False,
        "startDate": f"2026-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}T00:00:00Z",
        "serviceSpecification": {"id": f"spec-{rng.randrange(50)}", "name": "slice", "version": "1.0"},
        "place": [{"id": site, "name": site, "role": "edge"}],
        "relatedParty": [{"id": f"tenant-{rng.randrange(100)}", "role": "tenant", "@referredType": "Organization"}],
        "serviceCharacteristic": [
            {"name": name, "valueType": "number", "value": value}
            for name, value in (("cpus", rng.randrange(1, 65)), ("ram_mb", rng.randrange(10**5)), ("users", n))
        ]
        + [{"name": "tier", "valueType": "string", "value": rng.choice("abc")}],
    }


def _page(found: list[Json]) -> list[Json]:
    return found[:20]


QUESTIONS: dict[str, Naive] = {
    "limit=20": _page,
    "relatedParty.id=tenant-7&state=active&sort=-startDate&limit=20": lambda bodies: _page(
        sorted(
            (b for b in bodies if b["state"] == "active" and b["relatedParty"][0]["id"] == "tenant-7"),
            key=lambda b: str(b["startDate"]),
            reverse=True,
        )
    ),
    "startDate.gte=2026-12-20&sort=name&limit=20": lambda bodies: _page(
        sorted((b for b in bodies if b["startDate"] >= "2026-12-20"), key=lambda b: str(b["name"]))
    ),
    "state=active&sort=name&limit=20": lambda bodies: _page(
        sorted((b for b in bodies if b["state"] == "active"), key=lambda b: str(b["name"]))
    ),
    "name.regex=77$&sort=name&limit=20": lambda bodies: _page(
        sorted((b for b in bodies if b["name"].endswith("77")), key=lambda b: str(b["name"]))
    ),
}


def timed(method: Callable[[], list[Json]]) -> tuple[float, float, list[Json]]:
    cpu, wall = time.process_time(), time.perf_counter()
    found = method()
    return time.process_time() - cpu, time.perf_counter() - wall, found


def compare(store: Store, question: str, naive: Naive, runs: int) -> dict[str, Any]:
    query = parse_query(parse_qsl(question), lambda path: True)

    def by_index() -> list[Json]:
        with store.read() as session:
            return Collection(session, "service").find(query).bodies

    def by_reading() -> list[Json]:
        with store.read() as session:
            rows = select(ResourceRow.body).where(ResourceRow.kind == "service").order_by(ResourceRow.seq)
            return naive(list(session.scalars(rows)))

    times: dict[str, list[tuple[float, float, list[Json]]]] = {"index": [], "reading": []}
    for _ in range(runs):
        times["index"].append(timed(by_index))
        times["reading"].append(timed(by_reading))
    assert times["index"][-1][2] == times["reading"][-1][2]
    row: dict[str, Any] = {"question": question, "runs": runs, "found": len(times["index"][-1][2])}
    for whose, each in times.items():
        row |= {f"{whose}_cpu_s": median(t[0] for t in each), f"{whose}_wall_s": median(t[1] for t in each)}
    row |= {f"ratio_{what}": row[f"reading_{what}_s"] / row[f"index_{what}_s"] for what in ("cpu", "wall")}
    print(
        f"{question:64s} index {1e3 * row['index_cpu_s']:7.1f} ms CPU {1e3 * row['index_wall_s']:7.1f} ms wall, "
        f"reading {1e3 * row['reading_cpu_s']:7.1f} and {1e3 * row['reading_wall_s']:7.1f}: "
        f"ratio {row['ratio_cpu']:.1f} CPU, {row['ratio_wall']:.1f} wall",
        flush=True,
    )
    return row


def writes(store: Store, services: int) -> dict[str, float]:
    """Per service: added, in transactions of 100; then each of 1000 put with another state, one transaction each."""
    rng = random.Random(0)
    cpu, wall = time.process_time(), time.perf_counter()
    for start in range(0, services, 100):
        with store.write() as session:
            kept = Collection(session, "service")
            for n in range(start, min(start + 100, services)):
                body = service(n, rng)
                kept.add(body["id"], body)
    row = {"add_cpu_s": (time.process_time() - cpu) / services, "add_wall_s": (time.perf_counter() - wall) / services}
    cpu, wall, puts = time.process_time(), time.perf_counter(), min(1000, services)
    for n in range(puts):
        with store.write() as session:
            kept = Collection(session, "service")
            body = kept.get(f"{n:08x}", lock=True) or {}
            kept.put(body["id"], {**body, "state": "terminated"})
    row |= {"put_cpu_s": (time.process_time() - cpu) / puts, "put_wall_s": (time.perf_counter() - wall) / puts}
    print("writes:", ", ".join(f"{name[:-2]} {1e3 * value:.2f} ms" for name, value in row.items()), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("runs/resources.json"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/store.sqlite")
        result = {
            "services": options.services,
            "writes": writes(store, options.services),
            "lists": [compare(store, question, naive, options.runs) for question, naive in QUESTIONS.items()],
            "file_bytes": (Path(folder) / "store.sqlite").stat().st_size,
        }
        store.close()
    options.out.write_text(json.dumps(result, indent=1))
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()
