"""The database: opened, migrated, read and written; its trouble is a StoreError with the reason."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.orm import Session

from edgewright.core.errors import InputError
from edgewright.service.store.tables import ApiKey

BUSY_TIMEOUT_S = 2.0
MIGRATION_LOCK = 8741  # any number, the same for all workers (PostgreSQL advisory lock)


class StoreError(Exception):
    """The database did not take or give what was asked: nothing was changed."""


class Store:
    """One database. Thread-safe.

    SQLite runs in WAL mode with `synchronous=FULL`: what was acknowledged survives a kill and a power cut.
    """

    def __init__(self, url: str) -> None:
        """Open and migrate. Raises InputError for a bad address, StoreError where the database cannot be used."""
        shown = _without_password(url)
        try:
            parsed = make_url(url)
            self.dialect = parsed.get_backend_name()
            if self.dialect == "sqlite":
                if not parsed.database:
                    raise InputError("database_url", shown, "a file (sqlite:///PATH)")
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
                arguments: dict[str, Any] = {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
            elif self.dialect == "postgresql":
                arguments = {"connect_timeout": 5, "options": "-c statement_timeout=5000"}
            else:
                raise InputError("database_url", shown, "sqlite:///PATH or postgresql+psycopg://...")
            self.engine: Engine = create_engine(parsed, connect_args=arguments, pool_pre_ping=True)
        except InputError:
            raise
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
            raise InputError("database_url", shown, f"a database SQLAlchemy can open ({error})") from None
        except OSError as error:
            raise StoreError(f"{shown}: {error}") from error
        if self.dialect == "sqlite":
            event.listen(self.engine, "connect", _configure)
            event.listen(self.engine, "begin", _begin)
        with self.write() as session:
            self._migrate(session)

    def close(self) -> None:
        self.engine.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """A session to read in. Raises StoreError."""
        with self._session("DEFERRED") as session:
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits at its end, all or nothing. Raises StoreError, IntegrityError."""
        with self._session("IMMEDIATE") as session:  # taken at once: no upgrade of a read lock that could fail late
            yield session
            session.commit()

    @contextlib.contextmanager
    def _session(self, begin: str) -> Iterator[Session]:
        try:
            with (
                self.engine.connect().execution_options(sqlite_begin=begin) as connection,
                Session(connection, expire_on_commit=False) as session,
            ):
                yield session
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise StoreError(f"database: {error.orig}") from error

    def _migrate(self, session: Session) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        if self.dialect == "postgresql":
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        config.attributes["connection"] = session.connection()
        try:
            command.upgrade(config, "head")
        except CommandError as error:  # a revision that this version does not have
            raise StoreError(f"database: of a newer edgewright? {error}") from error

    # API keys: only a digest is kept. A key has 256 random bits, so that a plain hash is enough.

    def make_key(self) -> str:
        """A new key; this is the only time that it can be read."""
        key = secrets.token_urlsafe(32)
        with self.write() as session:
            session.add(ApiKey(digest=_digest(key), created=time.time()))
        return key

    def has_keys(self) -> bool:
        with self.read() as session:
            return session.scalars(select(ApiKey.digest).limit(1)).first() is not None

    def knows_key(self, key: str) -> bool:
        given = _digest(key)
        with self.read() as session:
            known = session.scalars(select(ApiKey.digest)).all()
        return sum(hmac.compare_digest(given, digest) for digest in known) > 0  # every one is compared


def _without_password(url: str) -> str:
    """Of any text, as a password must not be shown where the address cannot be parsed, too."""
    shown = re.sub(r"^((?:[^:/]*://)?[^:/@]*):(?!//).*@", r"\1:***@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", shown)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _configure(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say, see _begin
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "journal_size_limit=8388608"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Any) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('sqlite_begin', 'DEFERRED')}")
