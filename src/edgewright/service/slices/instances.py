"""Services in slices: deployed, scaled, resized, removed, each as a whole, within what their compute chunk has.

Where an instance is elastic its chunk's CPU and RAM follow what the replicas in the chunk need, as the ledger allows.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from edgewright.core.errors import CapacityError, InputError
from edgewright.drivers.host import HostError
from edgewright.service.loops.pace import go_along
from edgewright.service.packages import MOST_REPLICAS, Package
from edgewright.service.refusals import Conflict, NotSupported
from edgewright.service.slices import compute, records
from edgewright.service.slices.instance import Instance, balancer_of, replica_of
from edgewright.service.slices.records import (
    COMPUTE_CHUNK,
    GOING,
    INSTANCE,
    MAKING,
    NETWORK_CHUNK,
    READY,
    SERVICE,
    SLICE,
    Json,
)
from edgewright.service.slices.slices import chunks_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from edgewright.service.runtime import Runtime

STARTS = 8  # instances at once, at the start of the orchestrator


def create(runtime: Runtime, body: Mapping[str, Any]) -> Json:
    """Deploy a service in an active slice, or nothing.

    Raises NotFound, Conflict (an inactive slice, a name), InputError (beyond the package's ranges), CapacityError,
    NotSupported (this host runs no services), HostError, StoreError.
    """
    if why := runtime.slices.hosting.reasons.get("compute"):
        raise NotSupported(f"no service can run here: {why}")
    with runtime.changing:
        with runtime.store.read() as session:
            records.check_references(session, INSTANCE, body)
            slice_ = records.known(session, SLICE, body["slic3_id"])
            package = package_of(session, body["network_service_id"])
            chunks = chunks_of(session, slice_)
        if not slice_["active"]:
            raise Conflict(f"slic3_id: {slice_['name']!r} is not active")
        if not chunks[COMPUTE_CHUNK]:
            raise Conflict(f"slic3_id: {slice_['name']!r} has no compute chunk")
        if missing := runtime.slices.artefacts.missing(package):
            raise Conflict(f"network_service_id: artefacts {', '.join(missing)} of {package.key} are not here")
        record = {
            **body,
            "replicas": body.get("replicas") or package.replicas.initial,
            "cpus": body.get("cpus") or package.cpu.initial,
            "ram_mb": body.get("ram_mb") or package.memory.initial_mb,
            "compute_chunk_id": chunks[COMPUTE_CHUNK][0]["id"],
            "network_chunk_id": chunks[NETWORK_CHUNK][0]["id"] if chunks[NETWORK_CHUNK] else None,
            "package": package.key,
            "port": None,
            "active": True,
            "status": MAKING,
        }
        check_ranges(package, record)
        with runtime.store.write() as session:
            record = records.add(session, INSTANCE, record)
        try:
            _fit(runtime, record, record)
            made = runtime.slices.running[record["id"]] = _instance(runtime, record, package)
        except BaseException:
            _drop(runtime, record)
            raise
    with made.lock:  # others need not wait until its replicas are up
        try:
            made.start(record["replicas"], runtime.slices.artefacts)
            record = _change(runtime, record["id"], status=READY, port=made.port, address=made.address)
        except BaseException:
            with runtime.changing:
                _drop(runtime, record)
            raise
    runtime.recorder.event("instance_created", f"{record['name']}: {record['replicas']} replicas at {made.address}")
    return record


def change(runtime: Runtime, instance_id: str, *, wait_s: float = -1, **wanted: float | int | None) -> Json:
    """`replicas`, `cpus`, `ram_mb`, `active` (whether the replicas run): in force and kept, or none of these.

    Raises NotFound, InputError (beyond the package's ranges), CapacityError, Conflict (it does not run; it is being
    changed, for longer than `wait_s`), HostError, StoreError.
    """
    given = _given(wanted)
    running = _running(runtime, instance_id)
    if not running.lock.acquire(timeout=wait_s):
        raise Conflict(f"network_service_instance {running.name} is being changed")
    try:
        with taking(runtime, wait_s):
            old = _ready(runtime, instance_id)
            new = old | given
            check_ranges(running.package, new)
            if new == old:
                return old
            most = old | {name: max(old[name], new[name]) for name in ("replicas", "cpus", "ram_mb")}
            _fit(runtime, old, most, shrink=False)
            running.needs = most  # until it is done: the chunk may not shrink for another instance
        try:
            _apply(running, old, new)
            try:
                record = _change(runtime, instance_id, **given)
            except BaseException:
                _apply(running, new, old)
                raise
        finally:
            running.needs = None
            settle(runtime, running, wait_s)
    finally:
        running.lock.release()
    detail = ", ".join(f"{name} {old[name]:g} -> {value:g}" for name, value in given.items() if old[name] != value)
    runtime.recorder.event("instance_changed", f"{running.name}: {detail}")
    return record


def check_change(runtime: Runtime, instance_id: str, wanted: Mapping[str, Any]) -> None:
    """Raises NotFound, Conflict, InputError."""
    check_ranges(_running(runtime, instance_id).package, _ready(runtime, instance_id) | _given(wanted))


def _given(wanted: Mapping[str, Any]) -> Json:
    return {name: value for name, value in wanted.items() if value is not None}


def remove(runtime: Runtime, instance_id: str) -> None:
    """End it and forget it, with what it wrote outside the chunk's storage. Raises NotFound, Conflict, HostError."""
    running = runtime.slices.running.get(instance_id)
    with running.lock if running is not None else contextlib.nullcontext(), runtime.changing:
        with runtime.store.write() as session:
            records.check_unused(session, INSTANCE, instance_id)
            record = records.change(session, INSTANCE, instance_id, status=GOING)
        _drop(runtime, record, for_good=True)
    runtime.recorder.event("instance_deleted", record["name"])


def doom(runtime: Runtime, instance_id: str) -> None:
    """It goes, now or after a crash. Raises NotFound."""
    _change(runtime, instance_id, status=GOING)


def view(runtime: Runtime, record: Json) -> Json:
    """With its replicas as they are now."""
    running = runtime.slices.running.get(record["id"])
    return record | {"replica_states": running.view() if running is not None else []}


def package_of(session: Session, service_id: str) -> Package:
    """Of a network service. Raises NotFound."""
    return records.package(session, records.known(session, SERVICE, service_id)["package"])


def check_ranges(package: Package, wanted: Mapping[str, Any]) -> None:
    """Raises InputError."""
    for field, low, high in (
        ("replicas", package.replicas.min, package.replicas.max),
        ("cpus", package.cpu.min, package.cpu.max),
        ("ram_mb", package.memory.min_mb, package.memory.max_mb),
    ):
        if not low <= wanted[field] <= high:
            raise InputError(field, wanted[field], f"{low:g} .. {high:g}, as package {package.key} says")


def serving(record: Mapping[str, Any]) -> int:
    """How many replicas run; one that is not active keeps its share of the chunk."""
    return int(record["replicas"]) if record["active"] else 0


def restore(runtime: Runtime) -> None:
    """Everything that the store has runs again, adopted or started; what a crash cut short ends. Raises StoreError."""
    slices = runtime.slices
    with runtime.store.read() as session:
        found = records.listed(session, INSTANCE)
    ready = [each for each in found if each["status"] == READY and each["compute_chunk_id"] in slices.hosting.chunks]
    for record in ready:
        with slices.watching(_about(record)):
            with runtime.store.read() as session:
                package = package_of(session, record["network_service_id"])
            slices.running[record["id"]] = _instance(runtime, record, package)
    for chunk_id, chunk in slices.hosting.chunks.items():
        mine = [each for each in ready if each["compute_chunk_id"] == chunk_id and each["id"] in slices.running]
        with slices.watching(f"services of chunk {chunk_id}"):
            specs = [spec for each in mine for spec in slices.running[each["id"]].specs(serving(each))]
            for action in chunk.host.reconcile(specs):
                runtime.recorder.event(action.kind, f"{action.service} ({action.detail})")
    _clear_around(runtime, ready)

    def attempt(running: Instance) -> None:
        with slices.watching(running.about):
            bring_up(runtime, running)

    with ThreadPoolExecutor(STARTS, initializer=go_along) as pool:  # each may take as long as its replicas are given
        list(pool.map(attempt, list(slices.running.values())))
    for record in found:
        if record["status"] != READY:
            _drop(runtime, record, for_good=record["status"] == GOING)
    for running in list(slices.running.values()):  # a crash may have come after its chunk had grown
        settle(runtime, running)


def bring_up(runtime: Runtime, running: Instance) -> None:
    """All that the store has of it is in force. Raises HostError, OSError, InputError, StoreError: not `restored`."""
    running.restored = False
    with runtime.store.read() as session:
        record = records.known(session, INSTANCE, running.id)
    running.start(serving(record), runtime.slices.artefacts)
    running.resize(record["cpus"], record["ram_mb"])
    if running.port != record["port"]:
        _change(runtime, record["id"], port=running.port, address=running.address)
    running.restored = True


def _clear_around(runtime: Runtime, ready: list[Json]) -> None:
    """Balancers and wires of no instance end; a replica that was about to go when a crash came is to stay."""
    slices, running = runtime.slices, runtime.slices.running.values()
    if slices.hosting.ingress is not None:
        with slices.watching("balancers"):
            slices.hosting.ingress.reconcile([each.balancer_spec() for each in running if each.file.exists()])
    replicas = {name for each in running for name in each.replicas}
    for record in ready:
        if one := slices.running.get(record["id"]):
            replicas |= set(map(one.replica, range(serving(record))))
    for network in slices.hosting.networks.values():
        with slices.watching(f"network chunk {network.id}"):
            for name in network.attached() - replicas:
                network.detach(name)


def _running(runtime: Runtime, instance_id: str) -> Instance:
    """Raises NotFound, Conflict."""
    if running := runtime.slices.running.get(instance_id):
        return running
    raise Conflict(f"network_service_instance {_known(runtime, instance_id)['name']!r} does not run")


def _known(runtime: Runtime, instance_id: str) -> Json:
    """Raises NotFound."""
    with runtime.store.read() as session:
        return records.known(session, INSTANCE, instance_id)


def _ready(runtime: Runtime, instance_id: str) -> Json:
    """Raises NotFound, Conflict."""
    record = _known(runtime, instance_id)
    if record["status"] != READY:
        raise Conflict(f"network_service_instance {record['name']!r} is {record['status']}")
    return record


def _apply(running: Instance, old: Json, new: Json) -> None:
    """Raises HostError: all is as it was."""
    running.resize(new["cpus"], new["ram_mb"])
    try:
        if serving(new) != len(running.replicas):
            running.scale(serving(new))
    except BaseException:
        running.resize(old["cpus"], old["ram_mb"])
        raise


def settle(runtime: Runtime, running: Instance, wait_s: float = -1) -> None:
    """Its chunk follows what is kept. Where it cannot that is told, and tried again."""
    with runtime.slices.watching(chunk_of(running.about), (Exception,)), taking(runtime, wait_s):
        record = _known(runtime, running.id)
        _fit(runtime, record, record)


@contextlib.contextmanager
def taking(runtime: Runtime, wait_s: float) -> Iterator[None]:
    """`Runtime.changing`. Raises Conflict where it is not to be had in time."""
    if not runtime.changing.acquire(timeout=wait_s):
        raise Conflict("other changes are under way")
    try:
        yield
    finally:
        runtime.changing.release()


def chunk_of(about: str) -> str:
    return f"chunk of {about}"


def _fit(runtime: Runtime, record: Json, wanted: Json, *, shrink: bool = True) -> None:
    """The chunk has room for an instance as `wanted`. Raises CapacityError, Conflict, HostError."""
    chunk_id = record["compute_chunk_id"]
    cpu, ram_mb = compute.needed(runtime, chunk_id, wanted)
    chunk = compute.chunk_of(runtime, chunk_id)
    has = chunk["requirements"]["cpus"]["required"], chunk["requirements"]["ram"]["required"]
    if not record["elastic"]:
        for resource, need, have in (("cpus", cpu, has[0]), ("ram_mb", ram_mb, has[1])):
            if need > have + 1e-9:
                raise CapacityError(resource, need, have, owner=record["name"])
        return
    grow = cpu > has[0] + 1e-9 or ram_mb > has[1] + 1e-9
    less = cpu < has[0] - 1e-9 or ram_mb < has[1] - 1e-9
    if grow or (less and shrink):
        target = (cpu, ram_mb) if shrink else (max(cpu, has[0]), max(ram_mb, has[1]))
        compute.resize(runtime, chunk_id, cpus=target[0], ram_mb=target[1])


def _instance(runtime: Runtime, record: Json, package: Package) -> Instance:
    slices, settings = runtime.slices, runtime.settings
    assert slices.hosting.ingress is not None
    chunk = slices.hosting.chunks[record["compute_chunk_id"]]
    own = settings.data_dir / "instances" / record["id"]
    own.mkdir(parents=True, exist_ok=True)
    network = slices.hosting.networks.get(record["network_chunk_id"] or "")
    if network is None and record["network_chunk_id"] and slices.hosting.network is not None:
        raise HostError(record["name"], f"its network chunk {record['network_chunk_id']} does not stand")
    return Instance(
        id=record["id"],
        name=f"{package.name[:50]}-{record['id'][:8]}",
        about=_about(record),
        package=package,
        host=chunk.host,
        ingress=slices.hosting.ingress,
        network=network,
        folder=chunk.folder or own / "work",
        file=own / "balancer.json",
        token=hmac.new(settings.storage_secret.encode(), record["id"].encode(), hashlib.sha256).hexdigest(),
        cpus=record["cpus"],
        ram_mb=record["ram_mb"],
        port=record["port"] or 0,
    )


def _change(runtime: Runtime, instance_id: str, **values: Any) -> Json:
    with runtime.store.write() as session:
        return records.change(session, INSTANCE, instance_id, **values)


def _about(record: Json) -> str:
    return f"instance {record['name']}"


def _drop(runtime: Runtime, record: Json, *, for_good: bool = False) -> None:
    """Hold its lock. What it wrote to its logs stays, unless it goes `for_good`: it may say why it did not start.

    Raises HostError or StoreError where something stays: the next start removes it.
    """
    slices = runtime.slices
    running = slices.running.get(record["id"])
    if running is not None:
        running.close()
    if for_good:
        _forget_logs(runtime, record)
    slices.running.pop(record["id"], None)
    shutil.rmtree(runtime.settings.data_dir / "instances" / record["id"], ignore_errors=True)
    with runtime.store.write() as session:  # last: after a crash the record tells what is still to go
        records.collection(session, INSTANCE).remove(record["id"])
    if record["elastic"]:
        _shrink(runtime, record["compute_chunk_id"])
    slices.forget(_about(record), chunk_of(_about(record)))


def _forget_logs(runtime: Runtime, record: Json) -> None:
    hosting = runtime.slices.hosting
    if hosting.ingress is not None:
        hosting.ingress.forget(balancer_of(record["id"]))
    if chunk := hosting.chunks.get(record["compute_chunk_id"]):
        for number in range(MOST_REPLICAS):
            chunk.host.forget(replica_of(record["id"], number))


def _shrink(runtime: Runtime, chunk_id: str) -> None:
    """To what is left in it; an empty one keeps what it has, as a chunk without CPU cannot be."""
    with runtime.store.read() as session:
        here = [each for each in records.listed(session, INSTANCE) if each["compute_chunk_id"] == chunk_id]
    elastic = {each["id"] for each in here if each["elastic"]}
    for running in runtime.slices.running.values():
        if running.id in elastic:
            return settle(runtime, running)
