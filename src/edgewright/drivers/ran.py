"""The contract of a RAN controller, and what 3GPP allows a cell: channel numbers, bands and resource blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from edgewright.core.errors import InputError

Technology = Literal["nr", "lte"]
Duplex = Literal["fdd", "tdd"]

# NR global frequency raster, TS 38.104 table 5.4.2.1-1: first channel number, its frequency and the step, kHz.
RASTER = ((2_016_667, 24_250_080, 60), (600_000, 3_000_000, 15), (0, 0, 5))
LAST_ARFCN = 3_279_165

# NR operating bands, TS 38.104 tables 5.2-1 and 5.2-2: uplink and downlink in MHz; and the finest channel raster, in
# channel numbers, of tables 5.4.2.3-1 and 5.4.2.3-2. Without band n28's one extra channel for 40 MHz.
NR_BANDS: dict[str, tuple[tuple[int, int], tuple[int, int], int]] = {
    "n1": ((1920, 1980), (2110, 2170), 20),
    "n2": ((1850, 1910), (1930, 1990), 20),
    "n3": ((1710, 1785), (1805, 1880), 20),
    "n5": ((824, 849), (869, 894), 20),
    "n7": ((2500, 2570), (2620, 2690), 20),
    "n8": ((880, 915), (925, 960), 20),
    "n12": ((699, 716), (729, 746), 20),
    "n20": ((832, 862), (791, 821), 20),
    "n25": ((1850, 1915), (1930, 1995), 20),
    "n28": ((703, 748), (758, 803), 20),
    "n38": ((2570, 2620), (2570, 2620), 20),
    "n40": ((2300, 2400), (2300, 2400), 20),
    "n41": ((2496, 2690), (2496, 2690), 3),
    "n66": ((1710, 1780), (2110, 2200), 20),
    "n71": ((663, 698), (617, 652), 20),
    "n77": ((3300, 4200), (3300, 4200), 1),
    "n78": ((3300, 3800), (3300, 3800), 1),
    "n79": ((4400, 5000), (4400, 5000), 1),
    "n257": ((26500, 29500), (26500, 29500), 1),
    "n258": ((24250, 27500), (24250, 27500), 1),
    "n260": ((37000, 40000), (37000, 40000), 1),
    "n261": ((27500, 28350), (27500, 28350), 1),
}

# LTE, TS 36.101 table 5.7.3-1: lowest downlink frequency in MHz, first and last downlink EARFCN; and table 5.5-1: the
# mode. Steps are of 100 kHz.
LTE_BANDS: dict[str, tuple[int, int, int, Duplex]] = {
    "1": (2110, 0, 599, "fdd"),
    "2": (1930, 600, 1199, "fdd"),
    "3": (1805, 1200, 1949, "fdd"),
    "4": (2110, 1950, 2399, "fdd"),
    "5": (869, 2400, 2649, "fdd"),
    "7": (2620, 2750, 3449, "fdd"),
    "8": (925, 3450, 3799, "fdd"),
    "12": (729, 5010, 5179, "fdd"),
    "13": (746, 5180, 5279, "fdd"),
    "14": (758, 5280, 5379, "fdd"),
    "17": (734, 5730, 5849, "fdd"),
    "20": (791, 6150, 6449, "fdd"),
    "25": (1930, 8040, 8689, "fdd"),
    "26": (859, 8690, 9039, "fdd"),
    "28": (758, 9210, 9659, "fdd"),
    "38": (2570, 37750, 38249, "tdd"),
    "39": (1880, 38250, 38649, "tdd"),
    "40": (2300, 38650, 39649, "tdd"),
    "41": (2496, 39650, 41589, "tdd"),
    "42": (3400, 41590, 43589, "tdd"),
    "43": (3600, 43590, 45589, "tdd"),
    "66": (2110, 66436, 67335, "fdd"),
    "71": (617, 68586, 68935, "fdd"),
}

# Resource blocks by subcarrier spacing in kHz and channel bandwidth in MHz, TS 38.104 tables 5.3.2-1 (FR1) and 5.3.2-2
# (FR2); 0: there is none.
FR1_MHZ = (5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100)
NR_FR1_PRBS: dict[int, dict[float, int]] = {
    scs_khz: {mhz: prbs for mhz, prbs in zip(FR1_MHZ, row, strict=True) if prbs}
    for scs_khz, row in {
        15: (25, 52, 79, 106, 133, 160, 188, 216, 242, 270, 0, 0, 0, 0, 0),
        30: (11, 24, 38, 51, 65, 78, 92, 106, 119, 133, 162, 189, 217, 245, 273),
        60: (0, 11, 18, 24, 31, 38, 44, 51, 58, 65, 79, 93, 107, 121, 135),
    }.items()
}
NR_FR2_PRBS: dict[int, dict[float, int]] = {
    60: {50: 66, 100: 132, 200: 264},
    120: {50: 32, 100: 66, 200: 132, 400: 264},
}
LTE_PRBS: dict[int, dict[float, int]] = {15: {1.4: 6, 3: 15, 5: 25, 10: 50, 15: 75, 20: 100}}  # TS 36.101 table 5.6-1
FR2_KHZ = 24_250_000  # TS 38.104 table 5.1-1


@dataclass(frozen=True)
class CellTopology:
    """A cell's carrier and the resource blocks of it that a chunk gets. `arfcn`: of the downlink's centre (EARFCN in
    LTE). `plmn`: country and network code, 5 or 6 digits (TS 23.003 clause 2.2).
    """

    arfcn: int
    bandwidth_mhz: float
    scs_khz: int
    duplex: Duplex
    prbs: int
    plmn: str
    technology: Technology = "nr"

    def __post_init__(self) -> None:
        most = max_prbs(self.bandwidth_mhz, self.scs_khz, self.technology, fr2=is_fr2(self.arfcn, self.technology))
        if not 1 <= self.prbs <= most:
            raise InputError("prbs", self.prbs, f"1 .. {most}")
        if not re.fullmatch(r"[0-9]{5,6}", self.plmn):
            raise InputError("plmn", self.plmn, "5 or 6 digits")
        bands = bands_of(self.arfcn, self.technology)
        if not bands:
            raise InputError("arfcn", self.arfcn, f"a downlink channel of {_named(self.technology)}")
        bands = tuple(band for band in bands if duplex_of(band, self.technology) == self.duplex)
        if not bands:
            raise InputError("duplex", self.duplex, "the mode of the channel's band")
        centre = frequency_mhz(self.arfcn, self.technology)
        edges = centre - self.bandwidth_mhz / 2, centre + self.bandwidth_mhz / 2
        ranges = [_downlink_mhz(band, self.technology) for band in bands]
        if not any(low <= edges[0] and edges[1] <= high for low, high in ranges):
            allowed = ", ".join(f"{low:g} .. {high:g} MHz" for low, high in ranges)
            raise InputError("bandwidth_mhz", self.bandwidth_mhz, f"a carrier around {centre:g} MHz within {allowed}")


@dataclass(frozen=True)
class RadioChunk:
    """A share of one cell."""

    id: str
    topology: CellTopology


class RanController(Protocol):
    """Configures the radio of one RAN infrastructure. Thread-safe. Raises HostError with the controller's reason."""

    def configure(self, chunk: RadioChunk) -> None:
        """Make the chunk, or change the one of that id. All or nothing."""
        ...

    def remove(self, id: str) -> None:
        """It need not be there."""
        ...


RanDriver = Callable[[Mapping[str, Any]], RanController]
"""A RAN infrastructure as it is registered (`id`, `name`, `ran_infrastructure_data`, ...) -> its controller, for one
slice to be activated or deactivated. Raises HostError where it cannot be reached.
"""


def frequency_mhz(arfcn: int, technology: Technology = "nr") -> float:
    """Of a channel number, in LTE a downlink one. Raises InputError for one that does not exist."""
    if technology == "lte":
        for low, first, last, _ in LTE_BANDS.values():
            if first <= arfcn <= last:
                return (low * 10 + arfcn - first) / 10
        raise InputError("arfcn", arfcn, f"a downlink channel of {_named('lte')}")
    if not 0 <= arfcn <= LAST_ARFCN:
        raise InputError("arfcn", arfcn, f"0 .. {LAST_ARFCN}")
    first, offset_khz, step_khz = next(row for row in RASTER if arfcn >= row[0])
    return (offset_khz + step_khz * (arfcn - first)) / 1000


def bands_of(arfcn: int, technology: Technology = "nr") -> tuple[str, ...]:
    """Bands in which it is a downlink channel; bands overlap in NR."""
    if technology == "lte":
        return tuple(band for band, (_, first, last, _) in LTE_BANDS.items() if first <= arfcn <= last)
    return tuple(band for band in NR_BANDS if arfcn in downlink_arfcns(band))


def downlink_arfcns(band: str) -> range:
    """The channels of an NR band."""
    _, downlink, step = NR_BANDS[band]
    first, last = (_number(edge * 1000) for edge in downlink)
    return range(first, last + (frequency_mhz(last) <= downlink[1]), step)


def duplex_of(band: str, technology: Technology = "nr") -> Duplex:
    if technology == "lte":
        return LTE_BANDS[band][3]
    uplink, downlink, _ = NR_BANDS[band]
    return "tdd" if uplink == downlink else "fdd"


def is_fr2(arfcn: int, technology: Technology) -> bool:
    """Whether the channel is above 24.25 GHz. Raises InputError for one that does not exist."""
    return technology == "nr" and frequency_mhz(arfcn) * 1000 >= FR2_KHZ


def max_prbs(bandwidth_mhz: float, scs_khz: int, technology: Technology = "nr", *, fr2: bool = False) -> int:
    """Resource blocks of a whole carrier. Raises InputError for a combination that does not exist.

    `fr2`: see `is_fr2`; the same bandwidth and spacing may have other numbers there.
    """
    tables = LTE_PRBS if technology == "lte" else NR_FR2_PRBS if fr2 else NR_FR1_PRBS
    if scs_khz not in tables:
        raise InputError("scs_khz", scs_khz, f"one of {', '.join(map(str, tables))}")
    if bandwidth_mhz not in tables[scs_khz]:
        allowed = ", ".join(f"{mhz:g}" for mhz in tables[scs_khz])
        raise InputError("bandwidth_mhz", bandwidth_mhz, f"at {scs_khz} kHz one of {allowed}")
    return tables[scs_khz][bandwidth_mhz]


def _number(khz: int) -> int:
    """The first channel that is not below."""
    first, offset_khz, step_khz = next(row for row in RASTER if khz >= row[1])
    return first - (offset_khz - khz) // step_khz  # past a row's end it is the next one's first


def _downlink_mhz(band: str, technology: Technology) -> tuple[float, float]:
    if technology == "nr":
        return NR_BANDS[band][1]
    low, first, last, _ = LTE_BANDS[band]
    return low, low + (last - first + 1) / 10


def _named(technology: Technology) -> str:
    return f"bands {', '.join(LTE_BANDS if technology == 'lte' else NR_BANDS)}"
