"""Bodies of the Slice Manager's API, read strictly."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from edgewright.core.errors import InputError
from edgewright.drivers import ran
from edgewright.service.api.schemas import WHOLE, Body

Named = Annotated[str, Field(min_length=1, max_length=200)]
Id = Annotated[str, Field(min_length=1, max_length=64)]
Text = Annotated[str, Field(max_length=2000)]
Free = dict[str, Any]
LEAST_CPUS = 0.01  # what the kernel can enforce in its longest period, 1 ms of 1 s, with a margin
Cpus = Annotated[float, Field(ge=LEAST_CPUS, le=1e6, strict=True, allow_inf_nan=False)]
Megabytes = Annotated[float, Field(ge=1, le=1e12, strict=True, allow_inf_nan=False)]
Gigabytes = Annotated[float, Field(ge=0, le=1e9, strict=True, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=1e9, strict=True, allow_inf_nan=False)]


def _network(text: str) -> str:
    try:
        return str(IPv4Network(text))
    except ValueError as error:
        raise ValueError(f"an IPv4 network, ADDRESS/LENGTH ({error})") from None


def _address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError as error:
        raise ValueError(f"an IPv4 address ({error})") from None


_NETWORK = {"type": "string", "pattern": r"^\d{1,3}(\.\d{1,3}){3}(/\d{1,2})?$"}
Network = Annotated[str, AfterValidator(_network), WithJsonSchema(_NETWORK)]
Address = Annotated[str, AfterValidator(_address), WithJsonSchema({"type": "string", "format": "ipv4"})]


class User(Body):
    name: Named
    email: Annotated[str, Field(pattern=r"^[^@\s]{1,64}@[^@\s]{1,189}$")]


class Owned(Body):
    name: Named
    user_id: Id | None = None


class Location(Body):
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]


class Compute(Owned):
    location: Location | None = None
    compute_type: Literal["host", "kubernetes"] = "host"
    """`host`: the one that runs this server."""
    trusted: bool = False
    compute_data: Free = {}


class Underlay(Body):
    local: Address = "127.0.0.1"
    """Address of this host on the physical network."""
    remotes: Annotated[list[Address], Field(max_length=64)] = []
    """Of the other hosts on it."""
    port: Annotated[int, Field(ge=1, le=65535), WHOLE] = 4789


class PhysicalNetwork(Owned):
    data_subnetpool: Network
    """Every network chunk gets a /24 of it."""
    mgmt_subnetpool: Network | None = None
    bandwidth_mbps: Rate | None = None
    """What network chunks may have together; null: nobody counts."""
    underlay: Underlay = Underlay()
    location: Location | None = None


class Cell(Body):
    """A carrier that 3GPP TS 38.104 (NR) or TS 36.101 (LTE) allows."""

    id: Named
    technology: Literal["nr", "lte"] = "nr"
    arfcn: Annotated[int, Field(ge=0, le=3_279_165), WHOLE]
    """Channel number of the downlink."""
    bandwidth_mhz: Annotated[float, Field(gt=0, le=400)]
    scs_khz: Literal[15, 30, 60, 120] = 30
    """Subcarrier spacing."""
    duplex: Literal["tdd", "fdd"] = "tdd"
    plmn: Annotated[str, Field(pattern=r"^[0-9]{5,6}$")] = "00101"
    """Country and network code (TS 23.003, 2.2)."""
    prbs: Annotated[int, Field(ge=1, le=275), WHOLE] | None = None
    """Physical resource blocks that chunks may have together; null: all of the carrier."""

    @model_validator(mode="after")
    def _real(self) -> Cell:
        ran.CellTopology(**(self.model_dump(exclude={"id"}) | {"prbs": self.prbs or self.most_prbs}))
        return self

    @property
    def most_prbs(self) -> int:
        fr2 = ran.is_fr2(self.arfcn, self.technology)
        return ran.max_prbs(self.bandwidth_mhz, self.scs_khz, self.technology, fr2=fr2)


class RanData(Body):
    cells: Annotated[list[Cell], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _once(self) -> RanData:
        ids = [cell.id for cell in self.cells]
        for id_ in ids:
            if ids.count(id_) > 1:
                raise InputError("cells.id", id_, "an id used once")
        return self


class RanInfrastructure(Owned):
    ran_infrastructure_data: RanData
    location: Location | None = None


class RequiredCpus(Body):
    required: Cpus


class RequiredRam(Body):
    required: Megabytes
    units: Literal["MB"] = "MB"


class RequiredStorage(Body):
    required: Gigabytes
    units: Literal["GB"] = "GB"


class Requirements(Body):
    cpus: RequiredCpus
    """Cores."""
    ram: RequiredRam
    """MB (10^6 bytes)."""
    storage: RequiredStorage = RequiredStorage(required=0.0)
    """GB (10^9 bytes)."""


class ComputeChunk(Owned):
    description: Text = ""
    compute_id: Id | None = None
    """null: this host."""
    requirements: Requirements


class CpusInput(Body):
    cpus: RequiredCpus


class RamInput(Body):
    ram: RequiredRam


class StorageInput(Body):
    storage: RequiredStorage


class RequiredBandwidth(Body):
    required: Rate
    units: Literal["Mbps"] = "Mbps"


class NetworkRequirements(Body):
    bandwidth: RequiredBandwidth | None = None
    """null: as much as there is."""


class NetworkChunk(Owned):
    description: Text = ""
    physical_network_id: Id
    compute_chunk_id: Id | None = None
    requirements: NetworkRequirements = NetworkRequirements()
    role: Literal["data", "mgmt"] = "data"
    tag: Annotated[int, Field(ge=1, le=4094), WHOLE]
    """VLAN id (IEEE 802.1Q), or VXLAN id where the kernel has no VLANs; once on a physical network."""


class BandwidthInput(Body):
    bandwidth: RequiredBandwidth


class CellShare(Body):
    cell_id: Named
    prbs: Annotated[int, Field(ge=1, le=275), WHOLE]
    """Physical resource blocks."""
    arfcn: Annotated[int, WHOLE] | None = None
    """The cell's, or null."""


class ChunkTopology(Body):
    cells: Annotated[list[CellShare], Field(min_length=1, max_length=1000)]


class RadioChunk(Owned):
    chunk_topology: ChunkTopology


class Slice(Owned):
    chunk_ids: Annotated[list[Id], Field(max_length=100)] = []


class ChunkIds(Body):
    chunk_ids: Annotated[list[Id], Field(min_length=1, max_length=100)]


class NetworkService(Owned):
    package: Annotated[str, Field(min_length=1, max_length=110)]
    """NAME:VERSION of a package that is here."""


class Instance(Owned):
    network_service_id: Id
    slic3_id: Id
    replicas: Annotated[int, Field(ge=1, le=32), WHOLE] | None = None
    cpus: Cpus | None = None
    """Of each replica, cores; null: as the package says."""
    ram_mb: Megabytes | None = None
    """Of each replica."""
    elastic: bool = False
    """The chunk's CPU and RAM follow what the replicas need; otherwise they have to fit in."""


class Scale(Body):
    replicas: Annotated[int, Field(ge=1, le=32), WHOLE] | None = None
    cpus: Cpus | None = None
    ram_mb: Megabytes | None = None


class Telemetry(Owned):
    compute_id: Id | None = None
    telemetry_data: Free = {}


class Target(Body):
    name: Named
    network_service_instance_id: Id | None = None
    """Its address; or `url`."""
    url: Annotated[str, Field(pattern=r"^https?://[^@\s]{1,500}$")] | None = None
    """Of a page of metrics in Prometheus' format."""

    @model_validator(mode="after")
    def _one(self) -> Target:
        if (self.url is None) == (self.network_service_instance_id is None):
            raise InputError("url", self.url, "either this or network_service_instance_id")
        return self
