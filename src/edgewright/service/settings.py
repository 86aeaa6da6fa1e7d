"""What `edgewright up` can be told, by options or by `EDGEWRIGHT_*` environment variables."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

import structlog
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from edgewright.core.documents import input_error
from edgewright.core.errors import InputError

DEFAULT_PORT = 8741
log = structlog.get_logger("edgewright.settings")
Role = Literal["all", "api", "loops", "ui"]
DEMO_SCENARIO = Path(__file__).parents[1] / "demo" / "demo.yaml"


def _state_folder() -> Path:
    """Where a user's state belongs (XDG base directory specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "edgewright"


def _listed(value: Any) -> Any:
    """Names with commas, or a list in JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [name for part in value.split(",") if (name := part.strip())]


def _or_none(value: Any) -> Any:
    return None if str(value) == "none" else value


class Settings(BaseSettings):
    """Settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="EDGEWRIGHT_", extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    role: Role = "all"
    """`all` in one process, or only the page (`ui`), the API over other workers' loops (`api`), or `loops`."""
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """None: 8741, or the next free one."""
    data_dir: Path = Field(default_factory=_state_folder)
    """Folder of the database, the services' logs and their state."""
    database_url: str | None = None
    """None: SQLite in the data folder. `postgresql+psycopg://...` for several workers."""
    scenario: Annotated[Path | None, BeforeValidator(_or_none)] = DEMO_SCENARIO
    """Started as the first loop where the store knows none of its name; `none`: no loop."""
    backhaul: Path | None = None
    """Scenario of a backhaul loop, started where the store knows none of its name."""
    migration: Path | None = None
    """Scenario of a migration loop, started where the store knows none of its name."""
    driver: Literal["auto", "linux", "simulated"] = "auto"
    """`auto`: this host's control groups where it permits them, else simulated, and it says so."""
    ran_controller: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")] | None = None
    """`package.module:callable`, a `drivers.ran.RanDriver`. None: radio chunks are only booked."""
    api_url: str | None = None
    """Where the page finds the API; needed for role `ui`."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = ()
    """Further names by which a browser may call this server, with commas; addresses and localhost always may."""
    retention_hours: Annotated[float, Field(gt=0, le=24 * 366)] = 24.0
    """Decisions, events and ended orders of policies older than this are deleted."""

    @property
    def url(self) -> str:
        """Of the database."""
        return self.database_url or f"sqlite:///{self.data_dir / 'edgewright.sqlite'}"

    @property
    def storage_secret(self) -> str:
        """Made at first use and kept in the data folder: signs the page's cookie and the load generator's token."""
        file = self.data_dir / "secret"
        if not file.exists():
            self.data_dir.mkdir(parents=True, exist_ok=True)
            fresh = file.with_suffix(f".{os.getpid()}")
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_urlsafe(32))
            with contextlib.suppress(FileExistsError):
                os.link(fresh, file)  # the first of two processes wins, and no half-written file is ever read
            fresh.unlink()
        return file.read_text()


def read_settings(**given: Any) -> Settings:
    """Options that are not None win over the environment. Raises InputError."""
    known = {f"EDGEWRIGHT_{name.upper()}" for name in Settings.model_fields} | {"EDGEWRIGHT_REQUIRE_REAL"}
    for name in sorted(name for name in os.environ if name.startswith("EDGEWRIGHT_") and name not in known):
        log.warning("unknown_variable", detail=f"{name} is no setting; there are {', '.join(sorted(known))}")
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise input_error(error, "settings") from None
    if settings.role == "ui" and settings.api_url is None:
        raise InputError("api_url", None, "the address of the API, for the page alone (EDGEWRIGHT_API_URL)")
    return settings


def bind(settings: Settings) -> socket.socket:
    """A listening socket on the port asked for, or on the first free one from 8741. Raises InputError."""
    asked = settings.port
    for port in [asked] if asked else range(DEFAULT_PORT, DEFAULT_PORT + 100):
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, port))
            listener.listen(128)
            return listener
        except OSError as error:
            listener.close()
            reason = error.strerror or str(error)
            if asked or error.errno != errno.EADDRINUSE:
                raise InputError("port", f"{settings.host}:{port}", f"an address to listen on ({reason})") from None
    raise InputError("port", None, f"a free port from {DEFAULT_PORT} to {DEFAULT_PORT + 99}")
