"""What 3GPP allows a cell, against the numbers that its tables print."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.core.errors import InputError
from edgewright.drivers import ran
from edgewright.drivers.ran import CellTopology

CELL = CellTopology(632_628, 20, 30, "tdd", 51, "00101")
# TS 38.104 tables 5.4.2.3-1 and 5.4.2.3-2: downlink first and last.
PRINTED = {
    "n1": (422000, 434000),
    "n2": (386000, 398000),
    "n3": (361000, 376000),
    "n5": (173800, 178800),
    "n7": (524000, 538000),
    "n8": (185000, 192000),
    "n12": (145800, 149200),
    "n20": (158200, 164200),
    "n25": (386000, 399000),
    "n28": (151600, 160600),
    "n38": (514000, 524000),
    "n40": (460000, 480000),
    "n41": (499200, 537999),
    "n66": (422000, 440000),
    "n71": (123400, 130400),
    "n77": (620000, 680000),
    "n78": (620000, 653333),
    "n79": (693334, 733333),
    "n257": (2054166, 2104165),
    "n258": (2016667, 2070832),
    "n260": (2229166, 2279165),
    "n261": (2070833, 2084999),
}


@pytest.mark.parametrize("band", ran.NR_BANDS)
def test_channels_of_each_band_are_those_printed(band: str) -> None:
    downlink = ran.downlink_arfcns(band)
    assert (downlink[0], downlink[-1]) == PRINTED[band]
    assert band in ran.bands_of(downlink[0])


@pytest.mark.parametrize(
    ("arfcn", "mhz"),
    [
        (0, 0.0),
        (368_500, 1842.5),
        (599_999, 2999.995),
        (600_000, 3000.0),
        (632_628, 3489.42),
        (2_016_666, 24249.99),
        (2_016_667, 24250.08),
        (2_079_167, 28000.08),
        (3_279_165, 99999.96),
    ],
)
def test_the_global_raster(arfcn: int, mhz: float) -> None:
    assert ran.frequency_mhz(arfcn) == pytest.approx(mhz, abs=1e-9)


@given(st.integers(0, ran.LAST_ARFCN - 1))
def test_frequencies_rise_with_numbers(arfcn: int) -> None:
    assert ran.frequency_mhz(arfcn) < ran.frequency_mhz(arfcn + 1)


@given(st.sampled_from(sorted(ran.NR_BANDS)), st.data())
def test_a_channel_of_a_band_lies_in_its_range(band: str, data: st.DataObject) -> None:
    arfcn = data.draw(st.sampled_from(ran.downlink_arfcns(band)))
    low, high = ran.NR_BANDS[band][1]
    assert low <= ran.frequency_mhz(arfcn) <= high
    assert band in ran.bands_of(arfcn)


def test_bands_overlap_and_have_gaps() -> None:
    assert ran.bands_of(632_628) == ("n77", "n78")
    assert ran.bands_of(660_000) == ("n77",)
    assert ran.bands_of(386_000) == ("n2", "n25")
    assert ran.bands_of(368_500) == ("n3",)
    assert ran.bands_of(368_501) == ()  # between two channels of 100 kHz
    assert ran.bands_of(600_000) == ()
    assert [ran.duplex_of(band) for band in ("n3", "n78", "n257")] == ["fdd", "tdd", "tdd"]


@pytest.mark.parametrize(
    ("earfcn", "mhz", "bands", "duplex"),
    [
        (300, 2140.0, ("1",), "fdd"),
        (1575, 1842.5, ("3",), "fdd"),
        (2850, 2630.0, ("7",), "fdd"),
        (3400, 2685.0, ("7",), "fdd"),
        (6300, 806.0, ("20",), "fdd"),
        (38000, 2595.0, ("38",), "tdd"),
        (66436, 2110.0, ("66",), "fdd"),
    ],
)
def test_lte_channels(earfcn: int, mhz: float, bands: tuple[str, ...], duplex: str) -> None:
    assert ran.frequency_mhz(earfcn, "lte") == pytest.approx(mhz, abs=1e-9)
    assert ran.bands_of(earfcn, "lte") == bands
    assert ran.duplex_of(bands[0], "lte") == duplex


def test_lte_channels_are_of_one_band_each() -> None:
    channels = [set(range(first, last + 1)) for _, first, last, _ in ran.LTE_BANDS.values()]
    assert len(set().union(*channels)) == sum(map(len, channels))
    with pytest.raises(InputError, match="arfcn"):
        ran.frequency_mhz(70_000, "lte")


@pytest.mark.parametrize(
    ("bandwidth_mhz", "scs_khz", "prbs"),
    [
        (5, 15, 25),
        (20, 15, 106),
        (50, 15, 270),
        (20, 30, 51),
        (40, 30, 106),
        (100, 30, 273),
        (10, 60, 11),
        (100, 60, 135),
    ],
)
def test_resource_blocks_of_fr1(bandwidth_mhz: float, scs_khz: int, prbs: int) -> None:
    assert ran.max_prbs(bandwidth_mhz, scs_khz) == prbs


def test_resource_blocks_elsewhere() -> None:
    assert [ran.max_prbs(mhz, 120, fr2=True) for mhz in (50, 100, 200, 400)] == [32, 66, 132, 264]
    assert ran.max_prbs(100, 60, fr2=True) == 132
    assert [ran.max_prbs(mhz, 15, "lte") for mhz in (1.4, 3, 5, 10, 15, 20)] == [6, 15, 25, 50, 75, 100]
    missing: list[tuple[float, int, ran.Technology]] = [(100, 15, "nr"), (5, 60, "nr"), (20, 45, "nr"), (25, 15, "lte")]
    for mhz, scs_khz, technology in missing:
        with pytest.raises(InputError, match=r"bandwidth_mhz|scs_khz"):
            ran.max_prbs(mhz, scs_khz, technology)


@pytest.mark.parametrize("tables", [ran.NR_FR1_PRBS, ran.NR_FR2_PRBS, ran.LTE_PRBS])
def test_resource_blocks_fit_their_bandwidth(tables: dict[int, dict[float, int]]) -> None:
    """12 subcarriers each, and guards at both sides."""
    used = [prbs * 12 * scs / 1000 / mhz for scs, table in tables.items() for mhz, prbs in table.items()]
    assert all(0.75 < part < 0.99 for part in used)


def test_a_cell_that_3gpp_allows() -> None:
    assert CELL.technology == "nr"
    replace(CELL, arfcn=2_079_167, bandwidth_mhz=400, scs_khz=120, prbs=264)
    replace(CELL, arfcn=1575, bandwidth_mhz=20, scs_khz=15, duplex="fdd", prbs=100, technology="lte", plmn="310410")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("prbs", {"prbs": 52}),
        ("prbs", {"prbs": 0}),
        ("plmn", {"plmn": "0010"}),
        ("plmn", {"plmn": "001-01"}),
        ("arfcn", {"arfcn": 600_000}),
        ("arfcn", {"arfcn": -1}),
        ("duplex", {"duplex": "fdd"}),
        ("bandwidth_mhz", {"bandwidth_mhz": 21}),
        ("bandwidth_mhz", {"arfcn": 620_100}),  # 1.5 MHz above the band's edge
        ("scs_khz", {"scs_khz": 120}),
        ("arfcn", {"technology": "lte", "scs_khz": 15}),
    ],
)
def test_a_cell_that_3gpp_does_not_allow_is_refused_by_field(field: str, change: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        replace(CELL, **change)
    assert caught.value.field == field
