"""What must hold once all is settled, whatever was killed before. Each yields what does not."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from edgewright.core.errors import InputError
from edgewright.drivers.linux.cgroups import Group, Place, find_place, inside
from edgewright.service.refusals import Conflict
from edgewright.service.store.tables import DeliveryRow, OutboxRow, WorkflowRow
from edgewright.service.tmf.states import CANCEL_SERVICE_ORDER, SERVICE, SERVICE_ORDER

from ..ordering import ENDED, INVENTORY, MANAGER, ORDERING, Json
from .host import Host
from .journal import Journal, Thing

MB = 1_000_000
EMPTY = ("compute_chunk", "network_chunk", "slic3", "network_service_instance")
OF_ITEMS = {"completed": {"completed"}, "failed": {"failed"}, "rejected": {"rejected"}, "cancelled": {"cancelled"}}
MACHINES = {"serviceOrder": SERVICE_ORDER, "cancelServiceOrder": CANCEL_SERVICE_ORDER, "service": SERVICE}


def everything(api: httpx.Client, host: Host, journal: Journal, pids: list[int], engine: Engine) -> Iterator[str]:
    yield from written(api, journal)
    yield from orders(api, journal)
    yield from standing(api, host, pids)
    yield from moves(engine)


def written(api: httpx.Client, journal: Journal) -> Iterator[str]:
    """Every acknowledged write is there."""
    for order in journal.orders:
        if not order.id:
            continue
        answer = api.get(f"{ORDERING}/serviceOrder/{order.id}")
        if order.forgotten:
            if answer.status_code != 404:
                yield f"order {order.id}, deleted, is there"
        elif answer.status_code != 200:
            yield f"order {order.id}, acknowledged, is not there: {answer.status_code}"
        elif answer.json()["externalId"] != order.external:
            yield f"order {order.id} is another"
    for service in journal.services.values():
        answer = api.get(f"{INVENTORY}/service/{service.id}")
        if answer.status_code != 200:
            yield f"service {service.id}, of a completed order, is not there: {answer.status_code}"
            continue
        now = answer.json()
        wanted = "terminated" if service.ended else "active"
        if now["state"] != wanted:
            yield f"service {service.id} is {now['state']}, not {wanted}"
        have = {each["name"]: each["value"] for each in now["serviceCharacteristic"]}
        for name, may in service.may.items():
            if not service.ended and have[name] not in may:
                yield f"service {service.id}: {name} is {have[name]}, acknowledged was {sorted(may)}"
    by_kind = {kind: {each["id"]: each for each in api.get(f"{MANAGER}/{kind}").json()} for kind in EMPTY}
    for thing in journal.things:
        there = by_kind[thing.kind].get(thing.id)
        if thing.gone and there:
            yield f"{thing.kind} {thing.name}, deleted, is there"
        elif thing.id and not thing.gone:
            yield from _thing(thing, there)
    known = {thing.name for thing in journal.things if not thing.gone}
    managed = set(journal.services) | {body["id"] for body in _all(api, f"{INVENTORY}/service")}
    for kind in EMPTY:
        for each in by_kind[kind].values():
            if each["name"] not in known | managed:
                yield f"{kind} {each['name']} is of nobody"
            if each.get("status", "ready") != "ready":
                yield f"{kind} {each['name']} is {each['status']}"


def _thing(thing: Thing, there: Json | None) -> Iterator[str]:
    if there is None:
        yield f"{thing.kind} {thing.name}, acknowledged, is not there"
        return
    needs = there.get("requirements", {})
    for name, may in thing.content.items():
        have = there[name] if name in there else needs[name]["required"]
        if have not in may:
            yield f"{thing.kind} {thing.name}: {name} is {have}, acknowledged was {may}"


def orders(api: httpx.Client, journal: Journal) -> Iterator[str]:
    """Those, too, whose acknowledgement was lost."""
    active = {each["id"]: each["state"] for each in _all(api, f"{INVENTORY}/service")}
    for body in _all(api, f"{ORDERING}/serviceOrder"):
        state, items = body["state"], body["serviceOrderItem"]
        if state not in ENDED:
            yield f"order {body['id']} does not end: {state}"
            continue
        states = {each["state"] for each in items}
        if state != "partial" and states != OF_ITEMS[state]:
            yield f"order {body['id']} is {state}, its items {sorted(states)}"
        for each in items:
            id_ = each["service"].get("id")
            if each["state"] == "completed" and each["action"] in ("add", "delete") and id_ not in active:
                yield f"service {id_} of order {body['id']} is not in the inventory"
            if each["state"] == "completed" and each["action"] == "delete" and active.get(id_) != "terminated":
                yield f"service {id_} of order {body['id']} is {active.get(id_)}"
    for task in _all(api, f"{ORDERING}/cancelServiceOrder"):
        if task["state"] not in ("done", "terminatedWithError"):
            yield f"cancellation {task['id']} of order {task['serviceOrder']['id']} does not end: {task['state']}"


def standing(api: httpx.Client, host: Host, pids: list[int]) -> Iterator[str]:
    """Chunks and services on the host are those of the records, and nothing else is."""
    place, ingress = find_place(f"edgewright-{host.owner}"), find_place(host.balancers)
    chunks, networks = (api.get(f"{MANAGER}/{kind}").json() for kind in ("compute_chunk", "network_chunk"))
    groups = {host.group_of(), host.balancers} | {host.group_of(chunk["id"]) for chunk in chunks}
    namespaces = {host.namespace_of(chunk["id"]) for chunk in networks}
    processes = set[int]()
    mounts = {
        str(host.data / "chunks" / c["id"] / "storage") for c in chunks if c["requirements"]["storage"]["required"]
    }
    for chunk in chunks:
        needs = chunk["requirements"]
        yield from _limits(place, chunk["id"], needs["cpus"]["required"], needs["ram"]["required"], chunk["name"])
    yield from _ledger(api, chunks)
    active = {each["id"] for each in _all(api, f"{INVENTORY}/service") if each["state"] == "active"}
    found = api.get(f"{MANAGER}/network_service_instance").json()
    yield from (f"service {id_} has no instance" for id_ in active - {each["name"] for each in found})
    yield from (f"instance {each['name']} is of no service" for each in found if each["name"] not in active)
    for each in found:
        if each["name"] not in active:
            continue
        service = api.get(f"{INVENTORY}/service/{each['name']}").json()
        wanted = {c["name"]: c["value"] for c in service["serviceCharacteristic"]}
        alive = [state for state in each["replica_states"] if state["alive"]]
        if len(alive) != wanted["replicas"] or len(each["replica_states"]) != len(alive):
            yield f"service {service['id']} has {len(alive)} replicas of {wanted['replicas']}: {each['replica_states']}"
        yield from _answers(wanted["address"], {str(state["pid"]) for state in alive})
        chunk = next(chunk for chunk in chunks if chunk["id"] == each["compute_chunk_id"])
        if not math.isclose(chunk["requirements"]["cpus"]["required"], wanted["replicas"] * wanted["cpu"]):
            yield f"chunk of service {service['id']} has {chunk['requirements']['cpus']}, its service needs {wanted}"
        names = [state["name"] for state in each["replica_states"]]
        groups |= {host.group_of(each["compute_chunk_id"], name) for name in names}
        namespaces |= {host.namespace_of(each["network_chunk_id"], name) for name in names if each["network_chunk_id"]}
        balancer = f"{each['id'][:8]}-balancer"
        groups.add(f"{host.balancers}/{balancer}")
        processes |= {state["pid"] for state in alive} | Group(ingress, balancer).pids()
        inner = inside(place, each["compute_chunk_id"])
        for name in names:
            yield from _limits(inner, name, wanted["cpu"], wanted["memory"], f"replica {name}")
    yield from (f"control group {name} is of nobody" for name in sorted(host.groups() - groups))
    yield from (f"control group {name} is left of a probe" for name in sorted(host.probes(pids)))
    have = host.namespaces(pids)
    yield from (f"network namespace {name} is of nobody" for name in sorted(have - namespaces))
    yield from (f"network namespace {name} is missing" for name in sorted(namespaces - have))
    for pid, command in host.processes().items():
        if pid not in processes | set(pids):
            yield f"process {pid} is of nobody: {command}"
    yield from (f"mount {path} is of nobody" for path in sorted(host.mounts() - mounts))
    yield from (f"mount {path} is missing" for path in sorted(mounts - host.mounts()))
    behind = {path.removesuffix("storage") + "image" for path in mounts}
    for device, file in host.loop_devices().items():
        if file not in behind:
            yield f"loop device {device} is of nobody: {file}"
    folders = {each.name for each in (host.data / "chunks").glob("[!.]*")}
    yield from (f"folder of chunk {name} is of nobody" for name in folders - {chunk["id"] for chunk in chunks})
    folders = {each.name for each in (host.data / "instances").glob("*")}
    yield from (f"folder of instance {name} is of nobody" for name in folders - {each["id"] for each in found})


def _limits(place: Place, name: str, cpus: float, ram_mb: float, what: str) -> Iterator[str]:
    try:
        cpu, memory = Group(place, name).cpu_limit(), Group(place, name).memory_limit()
    except OSError as error:
        yield f"{what}: no control group: {error}"
        return
    if cpu is None or not math.isclose(cpu, cpus, rel_tol=0.01):
        yield f"{what}: CPU limit {cpu}, not {cpus}"
    if memory is None or abs(memory - ram_mb * MB) > 4096:
        yield f"{what}: memory limit {memory}, not {ram_mb} MB"


def _ledger(api: httpx.Client, chunks: list[Json]) -> Iterator[str]:
    booked = {
        "cpu": sum(chunk["requirements"]["cpus"]["required"] for chunk in chunks),
        "memory_bytes": MB * sum(chunk["requirements"]["ram"]["required"] for chunk in chunks),
    }
    for compute in api.get(f"{MANAGER}/compute").json():
        for name, amount in booked.items():
            if not math.isclose(taken := compute["capacity"][name] - compute["left"][name], amount, abs_tol=1e-6):
                yield f"ledger: {taken} of {name} are booked, the chunks have {amount}"


def _answers(address: str, pids: set[str]) -> Iterator[str]:
    try:
        answer = httpx.get(f"{address}/", timeout=10.0, trust_env=False)
    except httpx.HTTPError as error:
        yield f"{address} does not answer: {error!r}"
        return
    if answer.status_code != 200 or answer.text not in pids:
        yield f"{address} answers {answer.status_code} {answer.text[:100]}, its replicas are {sorted(pids)}"


def moves(engine: Engine) -> Iterator[str]:
    """Each resource went from state to state as its machine allows, by its events; workflows have ended."""
    states: dict[tuple[str, str], str] = {}
    with Session(engine) as session:
        for row in session.scalars(select(OutboxRow).order_by(OutboxRow.seq)):
            (name, body), *_ = row.body["event"].items()
            if name not in MACHINES or not row.type.endswith(("CreateEvent", "StateChangeEvent")):
                continue
            key, new = (name, row.subject), body["state"]
            try:
                if key in states:
                    MACHINES[name].check_move(states[key], new)
                if states.get(key) == new:
                    yield f"{name} {row.subject}: told twice that it is {new}"
            except (Conflict, InputError) as error:
                yield f"{name} {row.subject}: {error}"
            states[key] = new
        for workflow in session.scalars(select(WorkflowRow).where(WorkflowRow.state.in_(("running", "undoing")))):
            yield f"workflow {workflow.id} is {workflow.state}: {workflow.error}"


def delivered(engine: Engine, journal: Journal, found: dict[str, int]) -> Iterator[str]:
    """Each event came at least once to each hub that was there, and those of a resource in order."""
    with Session(engine) as session:
        rows = session.scalars(select(OutboxRow).order_by(OutboxRow.seq)).all()
        waiting = session.scalars(select(DeliveryRow.event).where(DeliveryRow.state != "delivered")).all()
    if waiting:
        yield f"{len(waiting)} events are not delivered"
    seqs = {row.id: row for row in rows}
    found["events"] = len(rows)
    for hub in journal.hubs.values():
        first: dict[str, OutboxRow] = {}
        for each in hub.got:
            if (row := seqs.get(each["id"])) is None:
                yield f"{hub.name} was told {each['type']} {each['id']}, which was not published"
            else:
                first.setdefault(row.id, row)
        found["delivered"] = found.get("delivered", 0) + len(first)
        found["repeats"] = found.get("repeats", 0) + len(hub.got) - len(first)
        last: dict[str, int] = defaultdict(int)
        for row in first.values():
            if row.seq < last[row.subject]:
                yield f"{hub.name}: {row.type} of {row.subject} came late"
            last[row.subject] = row.seq
        if hub.id and hub.until == math.inf:  # what waits for one that is deleted goes with it
            for row in rows:
                if row.api == hub.api and hub.since < row.t and row.id not in first:
                    yield f"{hub.name} was not told {row.type} of {row.subject} (seq {row.seq})"


def nothing(api: httpx.Client, host: Host, pids: list[int]) -> Iterator[str]:
    """After everything was deleted, while the orchestrator runs."""
    for kind in EMPTY:
        yield from (f"{kind} {each['name']} is left" for each in api.get(f"{MANAGER}/{kind}").json())
    yield from standing(api, host, pids)


def _all(api: httpx.Client, path: str) -> Iterator[Any]:
    offset = 0
    while page := api.get(f"{path}?offset={offset}&limit=100").json():
        yield from page
        offset += len(page)
