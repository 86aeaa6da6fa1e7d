"""What clients notice is counted right, and both mechanisms really move the three applications."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner

import edgewright
from edgewright.cli import app
from edgewright.drivers.linux import criu, guest
from edgewright.migration.clients import Trace, read_messages


def program(name: str) -> ModuleType:
    """A demo program, which nobody imports."""
    file = Path(edgewright.__file__).parent / "demo" / name
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def test_a_gap_counts_from_the_span_s_begin_and_to_its_end() -> None:
    trace = Trace(np.array([0.1, 0.2, 0.9, 1.0, 3.0]), np.array([0.0, 0.1, 0.5, 0.9, 2.0]), np.full(5, 100.0), 0)
    noticed = trace.between(0.15, 2.0)
    assert noticed.gap_s == pytest.approx(1.0)  # from 1.0 to the end
    assert noticed.jitter_s == pytest.approx(np.mean([0.3, 0.3]))  # transits 0.1, 0.4, 0.1
    assert noticed.bytes_per_s == pytest.approx(300 / 1.85)
    assert trace.between(1.2, 2.5).gap_s == pytest.approx(1.3)


def message(second: float, way: str, text: str) -> str:
    return f"{'-' * 47} 2026-01-01\t00:00:{second:09.6f}\nUDP message {way} (9 bytes):\n\n{text}\n\n"


def test_the_log_of_sipp_is_read() -> None:
    heads = "Call-ID: {}@h\r\nCSeq: 1 {}\r\n"
    log = message(1.0, "sent", "INVITE sip:s SIP/2.0\r\n" + heads.format(1, "INVITE"))
    log += message(1.5, "sent", "INVITE sip:s SIP/2.0\r\n" + heads.format(1, "INVITE"))  # again
    log += message(1.6, "received [9] bytes", "SIP/2.0 180 Ringing\r\n" + heads.format(1, "INVITE"))
    log += message(1.7, "received [9] bytes", "SIP/2.0 200 OK\r\n" + heads.format(1, "INVITE"))
    log += message(1.8, "sent", "BYE sip:s SIP/2.0\r\n" + heads.format(1, "BYE"))
    log += message(2.0, "received [9] bytes", "SIP/2.0 200 OK\r\n" + heads.format(1, "BYE"))
    log += message(2.5, "sent", "INVITE sip:s SIP/2.0\r\n" + heads.format(2, "INVITE"))
    trace = read_messages(log, 0.0)
    assert trace.time_s - trace.sent_s == pytest.approx([0.7, 0.2])
    assert trace.lost == 1


def test_a_call_is_answered_as_the_standard_says() -> None:
    answers = program("dialogue.py").answers
    dialogues: set[str] = set()
    heads = "Via: v\r\nTo: <sip:service@1.2.3.4>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n"
    invite = f"INVITE sip:service@1.2.3.4 SIP/2.0\r\n{heads}"
    (ringing, ok), served = answers(invite, dialogues, 0)
    assert ringing.startswith("SIP/2.0 180 ")
    assert ok.startswith("SIP/2.0 200 ")
    assert "\r\nVia: v\r\n" in ok
    assert "\r\nCSeq: 1 INVITE\r\n" in ok
    assert ";tag=" in ok
    assert answers(invite, dialogues, served) == ([ringing, ok], 0)  # repeated
    bye = invite.replace("INVITE", "BYE")
    (ended,), served = answers(bye, dialogues, served)
    assert served == 1
    assert "\r\nServed: 1\r\n" in ended
    assert answers(bye, dialogues, served)[1] == 1  # repeated: counted once
    assert answers(invite.replace("INVITE", "ACK"), dialogues, 1) == ([], 1)


@pytest.mark.real
def test_both_mechanisms_move_every_application(require: Callable[..., None], tmp_path: Path) -> None:
    for obtain in (criu.obtain, guest.obtain):
        with contextlib.suppress(criu.CriuMissing, guest.GuestMissing):
            obtain()
    require("criu")
    require("qemu")
    options = ["--memory-mb", "5", "--migrations", "2", "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, ["migration", "mechanisms", *options])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert len(rows) == 2 * 3 * 2
    for row in rows:
        assert row["lost"] <= (0 if row["application"] == "text" else 50), row  # datagrams may be lost
        assert 0 < row["downtime_ms"] < 5000, row
        assert row["frozen_ms"] < row["migration_ms"], row
        assert row["jitter_ms"] > 0, row
        assert row["throughput_percent"] > 50, row
    table = (tmp_path / "table.md").read_text().splitlines()
    assert len(table) == 2 + 6
    assert (tmp_path / "mechanisms.png").stat().st_size > 10_000


def test_what_is_not_known_is_named() -> None:
    for option, value in (("--mechanism", "pod"), ("--applications", "mail"), ("--memory-mb", "0")):
        done = CliRunner().invoke(app, ["migration", "mechanisms", option, value])
        assert done.exit_code != 0
        assert option in str(done.exception) + done.output
