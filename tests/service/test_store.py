"""The store on SQLite and on a real PostgreSQL: the same tests."""

from __future__ import annotations

import sqlite3
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from edgewright.core.errors import InputError
from edgewright.service.loops.leases import Leases, this_process
from edgewright.service.store import Store, StoreError
from edgewright.service.store.recorder import BATCH, Recorder
from edgewright.service.store.tables import (
    DecisionRow,
    EventRow,
    LeaseRow,
    LoopRow,
    Table,
)

from .conftest import PREFIX, running, settings, until


def decision(seq: int, t: float | None = None, loop: str = "demo") -> dict[str, Any]:
    at = time.time() if t is None else t
    head = {"loop": loop, "seq": seq, "t": at, "by": "policy", "mode": "act", "policy": "fixed", "changed": False}
    return {**head, "body": {"reasons": {"a": "µ"}}}


def loop_row(name: str = "demo") -> LoopRow:
    return LoopRow(
        name=name,
        scenario={},
        folder=".",
        mode="act",
        policy="fixed",
        pins={},
        limits={},
        load={},
        ports={},
        chunk_id=str(uuid.uuid4()),
        created=0.0,
    )


def count(store: Store, table: type[Table]) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_migrated_tables_are_the_models(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []


def test_opened_twice_it_stays_as_it_is(store: Store, url: str) -> None:
    key = store.make_key()
    again = Store(url)
    assert again.knows_key(key)
    assert not again.knows_key(key + "x")
    assert not again.knows_key("")
    again.close()


def test_a_write_is_whole_or_absent(store: Store) -> None:
    def half() -> None:
        with store.write() as session:
            session.add(loop_row())
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert count(store, LoopRow) == 0


def test_recorder_writes_and_keeps_limits(store: Store) -> None:
    with store.write() as session:
        session.add(loop_row())
    recorder = Recorder(store, retention_s=3600)
    for seq in range(1, 2 * BATCH):
        recorder.decision(decision(seq), (LoopRow, {"limits": {"a": {"cpu": seq, "memory_bytes": None}}}))
    recorder.event("started", "x", loop="demo")
    recorder.flush()
    assert count(store, DecisionRow) == 2 * BATCH - 1
    assert count(store, EventRow) == 1
    with store.read() as session:
        assert session.scalars(select(LoopRow)).one().limits == {"a": {"cpu": 2 * BATCH - 1, "memory_bytes": None}}
    assert recorder.waiting == 0


def test_old_rows_go_in_batches_and_young_ones_stay(store: Store) -> None:
    recorder = Recorder(store, retention_s=3600)
    old = time.time() - 7200
    for seq in range(1, BATCH + 11):
        recorder.decision(decision(seq, old))
    recorder.decision(decision(BATCH + 11))
    recorder.flush()
    assert [recorder.prune(), recorder.prune(), recorder.prune()] == [BATCH, 10, 0]
    assert count(store, DecisionRow) == 1


def test_memory_is_bounded_and_the_oldest_go_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewright.service.store.recorder.KEPT_RECORDS", 10)
    recorder = Recorder(store, retention_s=3600)
    for seq in range(1, 16):
        recorder.decision(decision(seq))
    assert (recorder.waiting, recorder.lost) == (10, 5)
    recorder.flush()
    with store.read() as session:
        assert session.scalars(select(DecisionRow.seq).order_by(DecisionRow.seq)).all() == list(range(6, 16))


def test_records_that_are_there_already_stop_nothing(store: Store) -> None:
    recorder = Recorder(store, retention_s=3600)
    recorder.decision(decision(2))
    recorder.flush()
    for seq in (1, 2, 3):
        recorder.decision(decision(seq))
    recorder.flush()
    assert (count(store, DecisionRow), recorder.waiting) == (3, 0)


def test_two_that_flush_at_once_write_each_record_once(store: Store) -> None:
    recorder = Recorder(store, retention_s=3600)
    for seq in range(400):
        recorder.decision(decision(seq))
    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(recorder.flush) for _ in range(4)]:
            each.result()
    assert (count(store, DecisionRow), recorder.waiting) == (400, 0)


def test_lease_is_of_one_and_runs_out(store: Store) -> None:
    mine = Leases(store, this_process(), "http://127.0.0.1:1")
    far = Leases(store, "another-host:1:1", "http://127.0.0.1:2")
    assert far.take("loops")
    assert not mine.take("loops")
    assert mine.address_of("loops") == "http://127.0.0.1:2"
    with store.write() as session:
        session.execute(text("UPDATE leases SET expires = :past"), {"past": time.time() - 1})
    assert mine.address_of("loops") is None
    assert mine.take("loops")
    assert mine.take("loops")  # renews
    assert not far.take("loops")
    mine.release("loops")
    assert far.take("loops")


def test_lease_of_a_dead_process_of_this_host_is_free(store: Store) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    host, _, ticks = this_process().rsplit(":", 2)
    dead = Leases(store, f"{host}:{child.pid}:{ticks}", "http://127.0.0.1:2")
    assert dead.take("loops")
    assert Leases(store, this_process(), "http://127.0.0.1:1").take("loops")
    assert count(store, LeaseRow) == 1


def test_orchestrator_on_it(url: str, tmp_path: Path) -> None:
    given = settings(tmp_path, database_url=url)
    with running(given) as client:
        key = client.made.first_key
        pin = f"{PREFIX}/loops/demo/services/a/pin"
        assert client.put(pin, json={"cpu": 0.5}).status_code == 200
        until(lambda: len(client.get(f"{PREFIX}/loops/demo/decisions?changed_only=true").json()) > 0)
    with running(given, key=key) as client:
        assert client.service("a")["pin"] == 0.5
        assert client.delete(pin).status_code == 204
        assert client.delete(f"{PREFIX}/loops/demo").status_code == 204
        assert client.get("/healthz").json()["status"] == "ok"


# Trouble


def test_locked_database_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewright.service.store.store.BUSY_TIMEOUT_S", 0.1)
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    recorder = Recorder(store, retention_s=3600)
    recorder.start()
    other = sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    recorder.decision(decision(1))
    until(lambda: recorder.trouble)
    assert "locked" in str(recorder.trouble)
    with pytest.raises(StoreError, match="locked"):
        store.make_key()
    assert count(store, DecisionRow) == 0  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    until(lambda: recorder.trouble is None and recorder.waiting == 0)
    assert count(store, DecisionRow) == 1
    with store.read() as session:
        kinds = session.scalars(select(EventRow.kind).order_by(EventRow.t)).all()
    assert kinds == ["database_trouble", "database_back"]
    recorder.close()
    store.close()


def test_full_disk_loses_nothing(tmp_path: Path) -> None:
    """A small file system of its own where mounting is permitted, else SQLite's own limit."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
    store = Store(f"sqlite:///{folder / 'store.sqlite'}")
    recorder = Recorder(store, retention_s=3600)
    try:
        filler = folder / "filler"
        if mounted:
            with pytest.raises(OSError, match="No space"):
                filler.write_bytes(b"x" * 2_000_000)
        else:
            with store.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA max_page_count=1")
        for seq in range(1, 401):
            recorder.decision(decision(seq))
        with pytest.raises(StoreError, match="full"):
            recorder.flush()
        assert count(store, DecisionRow) == 0
        assert recorder.waiting == 400
        if mounted:
            filler.unlink()
        else:
            with store.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        recorder.flush()
        assert count(store, DecisionRow) == 400
        with store.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    finally:
        store.close()
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("address", ["mysql://x/y", "sqlite://", "nonsense", "postgresql+none://x/y"])
def test_bad_address(address: str) -> None:
    with pytest.raises(InputError, match="database_url"):
        Store(address)


def test_unusable_database(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is not a database, it is a text of some length " * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store(f"sqlite:///{tmp_path / 'text'}")
    with pytest.raises(StoreError):
        Store("postgresql+psycopg://nobody@127.0.0.1:1/none")
