"""What moves a network function: nothing of it may be lost, the downtime is the shortest, and the reasons say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from edgewright.cli import app
from edgewright.core.errors import InputError
from edgewright.migration.functions import Cost, Slice, choose, costs_of, lost_by_a_process, plan, read_catalogue
from edgewright.migration.model import SHIPPED

CATALOGUE = read_catalogue()
BY_NAME = {one.name: one for one in CATALOGUE.functions}


def test_what_speaks_sctp_or_lives_in_the_kernel_is_no_process_to_move() -> None:
    lost = {name for name, one in BY_NAME.items() if lost_by_a_process(one)}
    assert lost == {"amf", "gnb-cu", "upf-kernel"}
    assert "N2 is NGAP over SCTP, whose sockets cannot be checkpointed" in lost_by_a_process(BY_NAME["amf"])
    assert {choice.mechanism for choice in plan(CATALOGUE) if choice.function in lost} == {"machine"}


def test_the_shortest_downtime_wins_within_what_the_slice_bears() -> None:
    costs = {"process": Cost(10.0, 1.0), "machine": Cost(100.0, 0.0)}
    where = Slice(name="any", functions=("smf",), interruption_ms=95.0)
    assert choose(BY_NAME["smf"], where, costs=costs).mechanism == "process"  # 90 ms
    big = BY_NAME["smf"].model_copy(update={"memory_mb": 300.0})
    refused = choose(big, where, costs=costs)  # 310 ms, 100 ms
    assert (refused.mechanism, refused.downtime_ms) == (None, 100.0)
    assert "more than the 95 ms that any bears" in refused.reasons[-1]
    assert choose(big, where.model_copy(update={"interruption_ms": None}), costs=costs).mechanism == "machine"


def test_without_machines_what_needs_one_is_not_moved() -> None:
    found = {choice.function: choice for choice in plan(CATALOGUE, ["shared"], ["process"])}
    assert found["amf"].mechanism is None
    assert found["amf"].reasons[-1] == "no machines here"
    assert found["nrf"].mechanism == "process"


def test_costs_are_fitted_to_measured_migrations(tmp_path: Path) -> None:
    file = tmp_path / "migrations.csv"
    rows = ["process,20,50", "process,100,130", "machine,20,70", "machine,20,90"]
    file.write_text("\n".join(["mechanism,memory_mb,downtime_ms", *rows]))
    costs = costs_of(file)
    assert costs["process"].downtime_ms(60) == pytest.approx(90.0)
    assert costs["machine"].downtime_ms(500) == pytest.approx(80.0)
    falling = ["machine,20,220", "machine,100,200", "machine,300,180"]
    file.write_text("\n".join(["mechanism,memory_mb,downtime_ms", *falling]))
    assert costs_of(file)["machine"].downtime_ms(20) == pytest.approx(200.0)
    file.write_text("mechanism,memory_mb,downtime_ms\nprocess,20,x\n")
    with pytest.raises(InputError, match=r"row 2: downtime_ms: got 'x'"):
        costs_of(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["functions"][0]["interfaces"][0].update(protocol="sip"), "protocol: got 'sip'"),
        (lambda data: data["slices"][0]["functions"].append("mme"), r"slices.shared.functions: got 'mme'"),
        (lambda data: data["functions"].append(data["functions"][0]), "functions: got 'nrf'"),
        (lambda data: data["slices"][1].update(service_type=0), "service_type"),
    ],
)
def test_a_bad_catalogue_names_the_field(tmp_path: Path, change: object, message: str) -> None:
    data = yaml.safe_load((SHIPPED / "functions.yaml").read_text())
    change(data)  # type: ignore[operator]
    file = tmp_path / "functions.yaml"
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(InputError, match=message):
        read_catalogue(file)


def test_the_command_says_why() -> None:
    done = CliRunner().invoke(app, ["migration", "functions", "--slices", "shared", "--json"])
    rows = {row["function"]: row for row in json.loads(done.output)}
    assert rows["amf"]["mechanism"] == "machine"
    assert any("SCTP" in reason for reason in rows["amf"]["reasons"])
