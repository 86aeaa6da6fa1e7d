"""The whole: lives and deaths of an orchestrator, with a check now and then and a report at the end."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from edgewright.service.store.tables import StepRow

from ..ordering import INVENTORY, MANAGER, ORDERING, OWN, item, package
from . import checks
from .forks import forking
from .host import Host
from .journal import DEFAULTS, Journal
from .life import Ended, Life
from .receiver import receiving
from .stream import HUB_APIS, Client

CLIENTS = 6
CHECK_EVERY = 10  # kills
LIFE_S = (0.3, 3.0)
AIM_S = 4.0  # at most, for what is aimed at to come
SETTLE_S = 120.0
STEPS = (
    *("feasibility", "acceptance", "modifications", "compute chunk", "network chunk", "slice", "activation"),
    *("reservation", "deployment", "deployment", "telemetry", "loop", "hand-over", "termination", "termination"),
)
HOW = {"after a time": 4, "while starting": 3, "at a step": 5, "at a write": 4}
QUICK: dict[str, Any] = {
    "cpu": {"min": 0.05, "max": 0.6, "initial": DEFAULTS["cpu"]},
    "memory": {"min_mb": 16.0, "max_mb": 64.0, "initial_mb": 32.0},
}


@dataclass
class Soak:
    """One run. `tell` is given a line now and then."""

    kills: int
    seed: int
    folder: Path
    database: str | None = None
    tell: Callable[[str], None] = lambda line: None
    killed: Counter[str] = field(default_factory=Counter)
    events: dict[str, int] = field(default_factory=dict)
    took_s: float = 0.0

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.data = self.folder / "data"
        self.random, self.journal, self.host = random.Random(self.seed), Journal(), Host(self.data)
        url = self.database or f"sqlite:///{self.data / 'edgewright.sqlite'}"
        self.engine: Engine = create_engine(url)
        self._told = 0  # violations

    def run(self) -> Journal:
        """Everything is removed at the end, also after a failure."""
        began = time.monotonic()
        environment = {"EDGEWRIGHT_DATABASE_URL": self.database} if self.database else {}
        with contextlib.ExitStack() as stack:
            forks = stack.enter_context(forking(**environment))
            callback = stack.enter_context(receiving(self.journal, self.seed))
            self.life = Life(forks, self.data)
            stack.callback(self.engine.dispose)
            stack.callback(lambda: self.host.sweep(self.life.pids))
            stack.callback(self.life.abandon)
            try:
                self._run(callback)
            except Ended as error:
                self.journal.wrong(f"the orchestrator: {error}")
        self.took_s = time.monotonic() - began
        return self.journal

    def _run(self, callback: str) -> None:
        self.life.begin()
        self.life.await_up()
        self._prepare()
        storage = not self._reasons()
        clients = [Client(f"{self.seed}/{n}", self.life, self.journal, callback, storage) for n in range(CLIENTS)]
        try:
            for client in clients:
                client.go.set()
                client.start()
            for number in range(1, self.kills + 1):
                self._kill(clients)
                self.life.begin()
                if number % CHECK_EVERY == 0 or number == self.kills:
                    self.life.await_up()
                    self._check(clients, f"after kill {number}")
                    for client in clients:
                        client.go.set()
        finally:
            for client in clients:
                client.stop.set()
            for client in clients:
                client.join(60)
        self._finish()

    # Before

    def _prepare(self) -> None:
        run = {"environment": {"SOAK": str(self.data)}}
        given = {
            "quick": package("quick", **QUICK),
            "slow": package("slow", starts_s=0.8, **QUICK),
            "broken": package("broken", **QUICK),
            "greedy": package("greedy", **QUICK | {"cpu": {"min": 0.05, "max": 64.0, "initial": DEFAULTS["cpu"]}}),
        }
        given["broken"]["run"]["command"] = ["python", "-I", "-S", "-c", "raise SystemExit('no')"]
        with self.life.client() as api:
            _fine(api.post(f"{MANAGER}/compute", json={"name": "here"}))
            network = {"name": "wire", "data_subnetpool": "10.77.0.0/16", "bandwidth_mbps": 10_000.0}
            self.journal.physical_network = _fine(api.post(f"{MANAGER}/physical_network", json=network))["id"]
            for name, each in given.items():
                each["run"] |= run
                found = _fine(api.post(f"{OWN}/packages", json=each))
                self.journal.packages[name] = found["serviceSpecification"]["id"]

    def _reasons(self) -> str:
        """Why there is no storage here, "" where there is."""
        from edgewright.drivers.linux.storage import why_not

        return why_not(self.folder) or ""

    # Killing

    def _kill(self, clients: list[Client]) -> None:
        """At a moment of some kind, early or late in this life."""
        how = self.random.choices([*HOW], [*HOW.values()])[0]
        if how == "while starting":
            usual_s = sorted(self.life.starts_s)[len(self.life.starts_s) // 2]
            time.sleep(self.random.uniform(0.0, 1.2) * usual_s)
        else:
            self.life.await_up()
            time.sleep(self.random.uniform(0.0, LIFE_S[1] / 2) if "at" in how else self.random.uniform(*LIFE_S))
            if how == "at a step":
                how = self._aim_at_step()
            elif how == "at a write":
                client = self.random.choice(clients)
                client.sent.clear()
                client.sent.wait(AIM_S)
                time.sleep(self.random.choice([0.0, self.random.uniform(0.0, 0.05)]))
        self.killed[how] += 1
        self.life.kill()

    def _aim_at_step(self) -> str:
        """The one wanted, or after a while any."""
        wanted, began = self.random.choice(STEPS), time.monotonic()
        running = select(StepRow.name).where(StepRow.state == "running")
        while (passed_s := time.monotonic() - began) < AIM_S:
            with contextlib.suppress(DBAPIError), Session(self.engine) as session:
                for name in (name.rpartition(": ")[2] for name in session.scalars(running)):
                    if name == wanted or passed_s > AIM_S / 2:
                        time.sleep(self.random.choice([0.0, self.random.uniform(0.0, 0.3)]))
                        return f"at step {name}"
            time.sleep(0.002)
        return "at no step"

    # Checking

    def _check(self, clients: list[Client], when: str) -> None:
        for client in clients:
            client.go.clear()
        _until(lambda: all(client.idle.is_set() for client in clients), SETTLE_S, "clients do not come to rest")
        with self.life.client() as api:
            self._settle(api)
            _until(lambda: not [*self._all(api)], 10.0, "")
            for line in self._all(api):
                self.journal.wrong(line)
        done = ", ".join(f"{count} {name}" for name, count in self.killed.items())
        self.tell(f"{when}: {self.journal.acknowledged} writes ({done})")
        for line in self.journal.violations[self._told :]:
            self.tell(f"  {line}")
        self._told = len(self.journal.violations)

    def _all(self, api: httpx.Client) -> Iterator[str]:
        return checks.everything(api, self.host, self.journal, self.life.pids, self.engine)

    def _settle(self, api: httpx.Client) -> None:
        """Wait until orders have ended, and note how."""

        def ended() -> bool:
            query = ",".join(("acknowledged", "inProgress", "assessingCancellation", "pendingCancellation"))
            return not api.get(f"{ORDERING}/serviceOrder?state={query}&limit=1").json()

        _until(ended, SETTLE_S, "")
        for order in self.journal.open_orders:
            answer = api.get(f"{ORDERING}/serviceOrder/{order.id}")
            if answer.status_code == 200:
                self.journal.note_end(order, answer.json())

    # After

    def _finish(self) -> None:
        """Events have come; what is deleted is gone, and so is all at the end."""
        with self.life.client() as api:
            _until(lambda: not any(hub["waiting"] for hub in api.get(f"{OWN}/hubs").json()), SETTLE_S, "")
            for line in checks.delivered(self.engine, self.journal, self.events):
                self.journal.wrong(line)
            self._delete_all(api)
            _until(lambda: not [*checks.nothing(api, self.host, self.life.pids)], 10.0, "")
            for line in checks.nothing(api, self.host, self.life.pids):
                self.journal.wrong(f"after all was deleted: {line}")
        if code := self.life.end():
            self.journal.wrong(f"exit code {code}:\n{self.life.log.read_text()[-4000:]}")
        for line in self.host.left(self.life.pids):
            self.journal.wrong(f"after its end: {line}")

    def _delete_all(self, api: httpx.Client) -> None:
        active = [each["id"] for each in checks._all(api, f"{INVENTORY}/service") if each["state"] != "terminated"]
        for id_ in active:
            given = {"serviceOrderItem": [item("delete", {"id": id_})]}
            order = _fine(api.post(f"{ORDERING}/serviceOrder", json=given))["id"]
            self._settle(api)
            if (state := api.get(f"{ORDERING}/serviceOrder/{order}").json()["state"]) != "completed":
                self.journal.wrong(f"the deletion of {id_} is {state}")
        for thing in self.journal.things:
            if thing.id and not thing.gone:
                if thing.kind == "slic3":
                    api.post(f"{MANAGER}/slic3/{thing.id}/deactivate")
                api.delete(f"{MANAGER}/{thing.kind}/{thing.id}")
        for hub in self.journal.hubs.values():
            api.delete(f"{HUB_APIS[hub.api]}/hub/{hub.id}")

    def report(self) -> dict[str, Any]:
        journal = self.journal
        ends = Counter(f"{order.action} {order.end or 'not acknowledged'}" for order in journal.orders)
        operations = {name: n for name, n in journal.count.items() if not name.startswith("HTTP")}
        starts = sorted(self.life.starts_s)
        return {
            "seed": self.seed,
            "database": "postgresql" if self.database else "sqlite",
            "took_s": round(self.took_s, 1),
            "kills": self.killed.total(),
            "killed": dict(sorted(self.killed.items())),
            "start_s": {"median": round(starts[len(starts) // 2], 2), "most": round(starts[-1], 2)},
            "operations": sum(operations.values()),
            "of_each": dict(sorted(operations.items())),
            "answers": {name: n for name, n in sorted(journal.count.items()) if name.startswith("HTTP")},
            "acknowledged_writes": journal.acknowledged,
            "lost_answers": journal.lost_answers,
            "orders": dict(sorted(ends.items())),
            "hubs": len(journal.hubs),
            "refused_by_hubs": sum(hub.refused for hub in journal.hubs.values()),
            **self.events,
            "violations": journal.violations,
        }


def _fine(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


def _until(true: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    """Wait; what does not come to hold is an error only where it is said `otherwise`."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            assert not otherwise, otherwise
            return
        time.sleep(0.1)
