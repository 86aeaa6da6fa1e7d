from __future__ import annotations

import io
import sqlite3
from pathlib import Path

import pytest
import structlog

from edgewright.core.errors import InputError
from edgewright.service.settings import DEFAULT_PORT, Settings, bind, read_settings
from edgewright.service.store import Store, StoreError
from edgewright.service.up import log_to_stderr


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEWRIGHT_ROLE", "loops")
    monkeypatch.setenv("EDGEWRIGHT_PORT", "9001")
    monkeypatch.setenv("EDGEWRIGHT_ALLOWED_HOSTS", '["edge.example"]')
    given = read_settings(port=9002, role=None, data_dir=tmp_path)
    assert (given.role, given.port, given.allowed_hosts) == ("loops", 9002, ("edge.example",))
    assert given.url == f"sqlite:///{tmp_path}/edgewright.sqlite"


@pytest.mark.parametrize(
    "given", ["edge.example, b.example", "edge.example,b.example,", '["edge.example", "b.example"]']
)
def test_allowed_hosts_as_a_list(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_ALLOWED_HOSTS", given)
    assert read_settings().allowed_hosts == ("edge.example", "b.example")
    monkeypatch.setenv("EDGEWRIGHT_ALLOWED_HOSTS", "[edge.example]")
    with pytest.raises(InputError, match="allowed_hosts"):
        read_settings()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:secret@h:abc/x",
        "mysql://u:secret@db",
        "nonsense://u:sec:re@secret@db/x",
        "u:secret@db",
        "sqlite://u:secret@h/",
        "oracle://h/x?password=secret&user=u",
    ],
)
def test_bad_database_address_does_not_show_the_password(url: str) -> None:
    with pytest.raises(InputError, match="database_url") as error:
        Store(url)
    assert "secret" not in str(error.value)


def test_database_of_a_newer_version(tmp_path: Path) -> None:
    file = tmp_path / "edgewright.sqlite"
    Store(f"sqlite:///{file}").close()
    with sqlite3.connect(file) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer edgewright"):
        Store(f"sqlite:///{file}")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"role": "boss"}, "role"),
        ({"port": 0}, "port"),
        ({"port": 70000}, "port"),
        ({"retention_hours": float("nan")}, "retention_hours"),
        ({"retention_hours": -1}, "retention_hours"),
        ({"driver": "magic"}, "driver"),
        ({"colour": "red"}, "colour"),
        ({"role": "ui"}, "api_url"),
    ],
)
def test_refused(given: dict[str, object], field: str) -> None:
    with pytest.raises(InputError, match=field):
        read_settings(**given)


def test_bad_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_PORT", "many")
    with pytest.raises(InputError, match="port"):
        read_settings()


def test_taken_port() -> None:
    with bind(Settings()) as first, bind(Settings()) as second:
        ports = [listener.getsockname()[1] for listener in (first, second)]
        assert DEFAULT_PORT <= ports[0] < ports[1]
        with pytest.raises(InputError, match="in use"):
            bind(Settings(port=ports[0]))


def test_address_that_is_not_ours() -> None:
    with pytest.raises(InputError, match="port"):
        bind(Settings(host="192.0.2.1", port=8741))


def test_secret_is_made_once_and_private(tmp_path: Path) -> None:
    given = Settings(data_dir=tmp_path / "data")
    assert given.storage_secret == Settings(data_dir=tmp_path / "data").storage_secret
    assert (tmp_path / "data" / "secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret"]


def test_default_data_folder_is_the_users_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Settings().data_dir == tmp_path / "edgewright"
    assert Settings().host == "127.0.0.1"


def test_a_lost_terminal_stops_no_log_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop once ended because the stream it logged to had been closed."""
    closed = io.StringIO()
    closed.close()
    before = structlog.get_config()
    try:
        log_to_stderr()
        monkeypatch.setattr("sys.stderr", closed)
        structlog.get_logger("edgewright.test").warning("nobody", reads="this")
    finally:
        structlog.configure(**before)
