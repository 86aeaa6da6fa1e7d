"""Files of antennas: what is read, what is left out, what is refused and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgewright.cli import app
from edgewright.core.errors import InputError
from edgewright.topology.antennas import COLUMNS, cells, read
from edgewright.topology.regions import Region

ROWS = (
    "GSM,214,1,19668,11546,0,-3.73811,40.256661,4210,2,1,1335024238,1334892236,0",
    "LTE,214,7,2860,139496359,0,-3.762818,40.257889,1787,10,1,1352829747,1410192382,0",
    "LTE,214,3,2860,139496360,0,-3.70,40.30,1787,10,1,1352829747,1410192382,0",
)


def file(folder: Path, *rows: str, headings: bool = True) -> Path:
    path = folder / "antennas.csv"
    path.write_text("\n".join([*([",".join(COLUMNS)] if headings else []), *rows]) + "\n")
    return path


@pytest.mark.parametrize("before", ["", "\ufeff", "\n\n"])
@pytest.mark.parametrize("headings", [True, False])
def test_with_a_line_of_headings_or_without(tmp_path: Path, headings: bool, before: str) -> None:
    path = file(tmp_path, *ROWS, "", headings=headings)
    path.write_text(before + path.read_text(), encoding="utf-8")
    found = read(path)
    assert found.radio == ("GSM", "LTE", "LTE")
    assert found.net.tolist() == [1, 7, 3]
    assert found.lon.tolist() == [-3.73811, -3.762818, -3.70]
    assert found.lat.tolist() == [40.256661, 40.257889, 40.30]
    assert sum(found.left_out.values()) == 0


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    found = read(file(tmp_path, *ROWS), radios=["LTE"], nets=[7, 3], region=Region.box(-3.8, 40.0, -3.75, 41.0))
    assert found.net.tolist() == [7]
    assert found.left_out == {"radio": 1, "net": 0, "region": 1}
    with pytest.raises(InputError, match=r"antennas\.csv: antennas: got .*'net': 3"):
        read(file(tmp_path, *ROWS), nets=[99])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("LTE,214,7", r"line 3: got '3 columns', allowed: the 14 columns"),
        (ROWS[1].replace("-3.762818", "east"), r"line 3, lon: got 'east', allowed: a number of degrees"),
        (ROWS[1].replace("-3.762818", "nan"), r"line 3, lon: got 'nan', allowed: a number of degrees"),
        (ROWS[1].replace("-3.762818", "-180.5"), r"line 3, lon: got '-180.5', allowed: -180 .. 180"),
        (ROWS[1].replace("40.257889", "90.1"), r"line 3, lat: got '90.1', allowed: -90 .. 90"),
        (ROWS[1].replace("LTE", "6G"), r"line 3, radio: got '6G', allowed: one of CDMA"),
        (ROWS[1].replace(",7,", ",x,"), r"line 3, net: got 'x', allowed: a whole number"),
        (ROWS[1].replace(",7,", ",-7,"), r"line 3, net: got '-7', allowed: a whole number"),
        (ROWS[1].replace(",7,", ",9223372036854775808,"), r"line 3, net: "),
        (ROWS[1].replace("214", "2\x0014"), r"line 3, mcc: got '2\\x0014', allowed: a whole number of up to 5 digits"),
        (ROWS[1].replace("2860", ""), r"line 3, area: got '', allowed: a whole number of up to 20 digits"),
        (ROWS[1].replace("139496359", "9" * 300), r"line 3, cell: got '9+…, allowed: a whole number"),
        (ROWS[1].replace("40.257889", "4_0"), r"line 3, lat: got '4_0', allowed: a number of degrees"),
        (ROWS[1][:-1] + '"0', "line 3: got 'a quote that does not end there'|file: "),
        (ROWS[1][:-1] + f'"0\n{ROWS[2]}\n{ROWS[2]}"', "line 3: got 'a quote that does not end there'"),
    ],
)
def test_a_malformed_row_is_refused_by_its_line(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(InputError, match=rf"antennas\.csv: {said}"):
        read(file(tmp_path, ROWS[0], row))


def test_operators_of_two_countries_share_no_site(tmp_path: Path) -> None:
    other = ROWS[1].replace("214", "268")
    found = read(file(tmp_path, ROWS[1], other, ROWS[1]))
    assert found.mcc.tolist() == [214, 268, 214]
    assert cells(found, merged_m=20.0).ids == ("LTE-214-7-2860-139496359", "LTE-268-7-2860-139496359")


@pytest.mark.parametrize(
    "corners", [(1, 0, 0, 1), (0, 1, 1, 1), (-181, 0, 0, 1), (0, 0, 1, 91), (0, 0, float("nan"), 1)]
)
def test_a_region_that_is_none_is_refused(corners: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match=r"region\."):
        Region.box(*corners)


def test_antennas_too_far_from_each_other_are_refused_by_their_file(tmp_path: Path) -> None:
    path = str(file(tmp_path, ROWS[0], ROWS[1].replace("40.257889", "-40.257889")))
    run = CliRunner().invoke(app, ["topology", "rings", "--antennas", path])
    assert run.exit_code == 2
    said = " ".join(run.stderr.split())
    assert "antennas.csv: region: got '4476 km around its middle', allowed: up to 500 km" in said


def test_rings_on_the_command_line(tmp_path: Path) -> None:
    path = str(file(tmp_path, *ROWS))
    run = CliRunner().invoke(app, ["topology", "rings", "--antennas", path, "--radio", "LTE", "--json"])
    assert run.exit_code == 0
    assert json.loads(run.stdout) == {
        "cells": 2,
        "m1": 1,
        "access_rings": 1,
        "m2": 1,
        "aggregation_rings": 1,
        "m3": 1,
    }
    picture = tmp_path / "rings.png"
    words = ["--antennas", path, "--radio", "LTE", "--limit", "m1=6/1", "--figure", str(picture)]
    run = CliRunner().invoke(app, ["topology", "rings", *words])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "left out: 1 by radio\n2 cells\n" in run.stdout
    assert "2 M1 switches of 1.00 in the mean, at most 6 within 1 km" in run.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--limit", "m1=6"], "--limit: got 'm1=6', allowed: LEVEL=MEMBERS/KM"),
        (["--merge-m", "inf"], "--merge-m: got inf, allowed: a finite number"),
        (["--limit", "m9=6/10"], "a level of m1, access_ring"),
        (["--limit", "m1=0/10"], "--limit m1=0/10: members: got 0"),
        (["--region", "1,2,3"], "--region: got '1,2,3', allowed: WEST,SOUTH,EAST,NORTH in degrees"),
        (["--region", "170,0,-170,1"], "--region 170,0,-170,1: region.lon: got (170.0, -170.0), allowed: from less"),
        (["--figure", "rings.xyz"], "--figure: got 'rings.xyz', allowed: a name that ends in .png"),
        (["--figure", "no/such/folder.png"], "--figure: got 'no/such/folder.png', allowed: a file in a folder"),
        (["--radio", "5G"], "radio: got '5G', allowed: one of CDMA, GSM"),
        (["--antennas", "none.csv"], "none.csv: file: got 'none.csv', allowed: a readable CSV file"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, words: list[str], said: str) -> None:
    path = [] if "--antennas" in words else ["--antennas", str(file(tmp_path, *ROWS))]
    run = CliRunner().invoke(app, ["topology", "rings", *path, *words])
    assert run.exit_code == 2
    assert said in " ".join(run.stderr.split())
