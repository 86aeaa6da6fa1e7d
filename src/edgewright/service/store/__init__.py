"""What must outlive a crash: keys, loops, decisions, events, chunks. SQLite embedded, PostgreSQL by the same code."""

from edgewright.service.store.store import Store, StoreError

__all__ = ["Store", "StoreError"]
