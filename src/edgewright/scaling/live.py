"""Services of a scenario, for real, on this host: what calibration and the live comparison of policies share."""

from __future__ import annotations

import contextlib
import csv
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.core.errors import InputError
from edgewright.core.workload import arrivals, rates
from edgewright.drivers.host import HostError, Limits
from edgewright.drivers.linux.services import LinuxHost
from edgewright.drivers.response import PrometheusSource
from edgewright.scaling.control import Controller
from edgewright.scaling.driver import SliceDriver
from edgewright.scaling.evaluation import Rollout
from edgewright.scaling.launch import GENERATOR, free_port, load_document, service_spec, target, write_load
from edgewright.scaling.model import MB, TYPICAL_RATE_HZ, Scenario, Service
from edgewright.scaling.observation import Observation
from edgewright.scaling.policies import make_policy

SETTLE_S = 2.0  # between two runs, for queues to empty
START_S = 10.0  # for the generator to answer
SAME_SPEED = 1.2  # of measured to said CPU: what differs less is chance


@dataclass(frozen=True)
class Requests:
    """What the generator measured, one entry per request: due time (s from the start), response (s), failed."""

    due_s: FloatArray
    response_s: FloatArray
    failed: FloatArray


@dataclass
class LiveServices:
    """Running services and where they listen."""

    scenario: Scenario
    host: LinuxHost
    ports: Mapping[str, int]
    folder: Path
    reviving: set[str] = field(default_factory=set)

    def limit(self, cpu: Mapping[str, float]) -> None:
        """Set CPU limits, cores; raises HostError if one is refused."""
        for name, cores in cpu.items():
            outcome = self.host.set_limits(name, Limits(cores, self._memory(name)))
            if not outcome.ok:
                raise HostError(name, "; ".join(outcome.refused.values()))

    def revive(self, name: str) -> threading.Thread:
        """Start a dead service again, beside the loop: it takes seconds until it is healthy."""

        def start() -> None:
            try:
                self.host.restart(name)
            finally:
                self.reviving.discard(name)

        self.reviving.add(name)
        thread = threading.Thread(target=start, name=f"revive-{name}")
        thread.start()
        return thread

    def _memory(self, name: str) -> int:
        return int(next(s for s in self.scenario.services if s.name == name).memory.initial_mb * MB)

    @contextlib.contextmanager
    def offered(
        self, seconds: int, times_s: Mapping[str, FloatArray], port: int | None = None
    ) -> Iterator[Callable[[], dict[str, Requests]]]:
        """Send requests at exactly these times; the value waits for the end and gives what was measured."""
        services = [s for s in self.scenario.services if s.name in times_s]
        idle = {"profile": {"kind": "constant", "rate_hz": 0.0}}
        targets = [target(s, self.ports[s.name], idle) for s in services]
        config = write_load(self.folder / "load.json", load_document(self.scenario.slo, targets, seconds))
        replay, results = self.folder / "arrivals.csv", self.folder / "results.csv"
        write_arrivals(replay, times_s)
        command = [sys.executable, "-m", GENERATOR, "--config", str(config), "--replay", str(replay)]
        command += ["--results", str(results), *(["--port", str(port)] if port else [])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

        def finish() -> dict[str, Requests]:
            process.communicate(timeout=seconds + self.scenario.slo.timeout_s + 30)
            if process.returncode != 0:
                raise HostError(GENERATOR, f"ended with status {process.returncode}")
            return read_results(results, [s.name for s in services], self.scenario.slo.timeout_s)

        try:
            yield finish
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=10)


@contextlib.contextmanager
def running(
    scenario: Scenario, folder: Path, work: Path, services: Sequence[Service] | None = None
) -> Iterator[LiveServices]:
    """Start services in control groups of their own; all end with the block.

    `folder`: where the scenario's relative paths start; `work`: for logs and measurements.
    Raises cgroups.Unavailable where the host permits no groups, HostError where a service does not start.
    """
    work.mkdir(parents=True, exist_ok=True)
    with LinuxHost(work / "services", "live") as host:
        ports = {}
        for service in services or scenario.services:
            ports[service.name] = free_port()
            limits = Limits(service.cpu.max, int(service.memory.max_mb * MB))
            host.start(service_spec(service, ports[service.name], folder), limits)
        yield LiveServices(scenario, host, ports, work)


def run_policy(
    live: LiveServices,
    policy: str,
    times_s: Mapping[str, FloatArray],
    seconds: int,
    on_tick: Callable[[int], None] | None = None,
    **parameters: float,
) -> Rollout:
    """Drive the running services by a policy over `seconds`, under requests at these times."""
    scenario = live.scenario
    controller = Controller(scenario, make_policy(policy, scenario, **parameters))
    live.limit({s.name: s.cpu.initial for s in scenario.services})
    time.sleep(SETTLE_S)
    port = free_port()
    source = PrometheusSource(
        f"http://127.0.0.1:{port}/metrics", scenario.slo.response_s, failed_as_s=scenario.slo.timeout_s
    )
    driver = SliceDriver(scenario, live.host, [source])
    seen: list[Observation] = []
    revived: list[threading.Thread] = []
    interval_s = scenario.control.interval_s
    try:
        with live.offered(seconds, times_s, port) as finish:
            _await_source(driver)
            began = time.monotonic()
            for tick in range(round(seconds / interval_s)):
                time.sleep(max(0.0, began + (tick + 1) * interval_s - time.monotonic()))
                observed = driver.observe()
                seen.append(observed)
                dead = [name for name, usage in driver.usages.items() if not usage.alive]
                revived.extend(live.revive(name) for name in dead if name not in live.reviving)
                if (tick + 1) * interval_s >= scenario.control.start_after_s:
                    outcome = driver.apply(controller.step(observed).allowed)
                    told = {k: v for k, v in outcome.refused.items() if k.partition(".")[0] not in live.reviving}
                    if told:
                        raise HostError(policy, str(told))
                if on_tick is not None:
                    on_tick(tick)
            measured = finish()
    finally:
        for thread in revived:
            thread.join()
        driver.close()
    return _rollout(scenario, seen, measured)


@dataclass(frozen=True)
class Speed:
    """CPU of a mean request at TYPICAL_RATE_HZ, s: as the scenario says, and on this host with all services busy."""

    said_s: float
    measured_s: float

    @property
    def load(self) -> float:
        """The factor, at most 1, by which loads take no more of this host than the scenario says that they take."""
        return min(1.0, self.said_s / self.measured_s) if self.measured_s > SAME_SPEED * self.said_s else 1.0


def measure_speed(live: LiveServices, seconds: int = 8, seed: int = 0) -> Speed:
    """All services at their highest limits, each under TYPICAL_RATE_HZ."""
    services, rng = live.scenario.services, np.random.default_rng(seed)
    times = {s.name: arrivals(np.full(seconds, TYPICAL_RATE_HZ), rng) for s in services}

    def used_s() -> float:
        return sum(live.host.usage(s.name).cpu_s for s in services)

    live.limit({s.name: s.cpu.max for s in services})
    before = used_s()
    with live.offered(seconds, times) as finish:
        finish()
    said_s = sum(s.behaviour.typical_cpu_s * times[s.name].size for s in services)
    count = sum(due_s.size for due_s in times.values())
    return Speed(said_s / count, (used_s() - before) / count)


def draw_arrivals(
    scenario: Scenario, seconds: int, seed: int, folder: Path, load: float = 1.0
) -> dict[str, FloatArray]:
    """Arrival times of every service, s from the start; the same for every policy that is compared. `load`: a factor on
    all rates.
    """
    streams = np.random.SeedSequence(seed).spawn(len(scenario.services))
    times = {}
    for service, stream in zip(scenario.services, streams, strict=True):
        rng = np.random.default_rng(stream)
        times[service.name] = arrivals(load * rates(service.load, seconds, rng, folder=folder), rng)
    return times


def write_arrivals(path: Path, times_s: Mapping[str, FloatArray]) -> None:
    rows = sorted((float(t), name) for name, times in times_s.items() for t in times)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["t_s", "service"])
        writer.writerows((f"{t:.6f}", name) for t, name in rows)


def read_results(path: Path, names: Sequence[str], timeout_s: float) -> dict[str, Requests]:
    """The generator's CSV (t_s, service, response_s, outcome); a failed request counts as the time-out."""
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            ok = row["outcome"] == "ok"
            response = min(float(row["response_s"]), timeout_s) if ok else timeout_s
            rows[row["service"]].append((float(row["t_s"]), response, float(not ok)))
    columns = {name: np.array(sorted(values)).reshape(-1, 3).T for name, values in rows.items()}
    return {name: Requests(*table) for name, table in columns.items()}


def _await_source(driver: SliceDriver) -> None:
    """Until the generator answers; the first windows then start from its first scrape."""
    deadline = time.monotonic() + START_S
    while True:
        driver.observe()
        if not driver.warnings:
            return
        if time.monotonic() > deadline:
            raise HostError(GENERATOR, "; ".join(driver.warnings.values()))
        time.sleep(0.05)


def _rollout(scenario: Scenario, seen: Sequence[Observation], measured: Mapping[str, Requests]) -> Rollout:
    """Responses go to the interval in which they ended, as in the twin."""
    interval_s, steps = scenario.control.interval_s, len(seen)
    responses: list[list[FloatArray]] = []
    failed = np.zeros((steps, len(scenario.names)))
    for column, name in enumerate(scenario.names):
        requests = measured[name]
        if requests.due_s.size == 0:
            raise InputError(f"services.{name}.load", "no request", "at least one request in the run")
        ended = ((requests.due_s + requests.response_s) / interval_s).astype(int)
        index = np.minimum(ended, steps - 1)
        responses.append([requests.response_s[index == step] for step in range(steps)])
        np.add.at(failed[:, column], index, requests.failed)

    def stack(field: str) -> FloatArray:
        return np.stack([np.asarray(getattr(o, field), dtype=np.float64) for o in seen])

    return Rollout(
        interval_s,
        stack("limit_cpu"),
        stack("usage_cpu"),
        stack("arrived_hz") * interval_s,
        tuple(tuple(service[step] for service in responses) for step in range(steps)),
        failed,
        stack("oom_kills"),
        stack("memory_limit_bytes"),
    )
