"""Service packages: what is needed to run a service, its artefacts by their checksums, kept in the data folder."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgewright.core.documents import Document, Name, Part, unique
from edgewright.core.errors import InputError
from edgewright.core.files import replacing
from edgewright.core.workload import Constant, Load
from edgewright.scaling.model import (
    Behaviour,
    Control,
    CpuRange,
    MemoryRange,
    NonNegative,
    Positive,
    Scenario,
    Service,
    SliceCapacity,
    Slo,
)

MOST_REPLICAS = 32
MOST_KEY = 64
MOST_BYTES = 2_000_000_000  # of one artefact
UNNAMED_S = 3600.0  # an artefact waits for its package
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class Artefact(Part):
    """A file that lies in the service's working directory."""

    name: FileName
    sha256: Digest
    executable: bool = False


class Replicas(Part):
    min: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] = 1
    max: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] = 1
    initial: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] = 1

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if not self.min <= self.initial <= self.max:
            raise InputError("initial", self.initial, f"between min ({self.min}) and max ({self.max})")
        return self


class Program(Part):
    """In the command `{address}` and `{port}` become those to listen on, `{name}` the replica's own; `python` is the
    interpreter that runs edgewright.
    """

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    environment: dict[str, str] = {}
    health_path: Annotated[str, Field(pattern=r"^/[!-~]*$")] = "/healthz"
    start_timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0


class Package(Document):
    """A descriptor (`edgewright.package/1`)."""

    format: Literal["edgewright.package/1"]
    name: Name
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,39}$")] = "1.0"
    description: Annotated[str, Field(max_length=2000)] = ""
    run: Program
    artefacts: Annotated[tuple[Artefact, ...], Field(max_length=100)] = ()
    cpu: CpuRange = CpuRange()
    """Of one replica, cores."""
    memory: MemoryRange = MemoryRange()
    """Of one replica."""
    storage_gb: NonNegative = 0.0
    """Of all replicas together: a file system of their own, their working directory."""
    replicas: Replicas = Replicas()
    bandwidth_mbps: Positive | None = None
    """None: as much as there is."""
    slo: Slo = Slo()
    rate_hz: Positive = 20.0
    """Requests per second that the SLO must hold at: feasibility is judged at this rate."""
    behaviour: Behaviour = Behaviour()
    """Of one request, for feasibility and the scaling policies."""
    policy: str | None = "curves"
    """That scales the CPU of the running service; None: nobody does."""

    @model_validator(mode="after")
    def _consistent(self) -> Package:
        unique((artefact.name for artefact in self.artefacts), "artefacts.name")
        return self

    @model_validator(mode="after")
    def _short(self) -> Package:
        if len(self.key) > MOST_KEY:
            raise InputError(
                "version", self.version, f"{MOST_KEY} characters at most together with the name and a colon"
            )
        return self

    @property
    def key(self) -> str:
        """Names it among all packages."""
        return f"{self.name}:{self.version}"


def scenario_of(package: Package, name: str) -> Scenario:
    """The scaling problem of one replica: all replicas of a service have the same limits and the same share of its
    load.
    """
    service = Service(
        name=name,
        cpu=package.cpu,
        memory=package.memory,
        behaviour=package.behaviour,
        load=Load(profile=Constant(kind="constant", rate_hz=package.rate_hz)),
    )
    return Scenario(
        format="edgewright.scaling/1",
        name=name,
        slice=SliceCapacity(cpu=package.cpu.max, memory_mb=package.memory.max_mb),
        slo=package.slo,
        control=Control(policy=package.policy or "fixed", memory_policy="fixed"),
        services=(service,),
    )


@dataclass(frozen=True)
class Artefacts:
    """Files by the SHA-256 of what they hold."""

    folder: Path

    @contextmanager
    def receiving(self, sha256: str) -> Iterator[Callable[[bytes], None]]:
        """Takes a file part by part, and keeps it at the end. Raises InputError where it is not what its checksum says
        or larger than MOST_BYTES, OSError; nothing is kept then.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / sha256) as new:
            digest, size = hashlib.sha256(), 0
            with new.open("wb") as file:

                def take(part: bytes) -> None:
                    nonlocal size
                    digest.update(part)
                    size += len(part)
                    if size > MOST_BYTES:
                        raise InputError("body", f"more than {MOST_BYTES} bytes", f"{MOST_BYTES} bytes at most")
                    file.write(part)

                yield take
            if digest.hexdigest() != sha256:
                raise InputError("sha256", sha256, f"the checksum of what was sent, {digest.hexdigest()}")

    def missing(self, package: Package) -> list[str]:
        """Names of a package's artefacts that are not here."""
        return [each.name for each in package.artefacts if not (self.folder / each.sha256).exists()]

    def lay_out(self, package: Package, folder: Path) -> None:
        """Put a package's artefacts into a folder; what is there already stays. Raises OSError."""
        for each in package.artefacts:
            target, fresh = folder / each.name, folder / f".writing-{each.name}"
            if target.exists() and _digest(target) == each.sha256:
                continue
            try:
                shutil.copyfile(self.folder / each.sha256, fresh)
                fresh.chmod(0o755 if each.executable else 0o644)
                fresh.replace(target)
            finally:
                fresh.unlink(missing_ok=True)

    def prune(self, wanted: Iterable[str]) -> None:
        """Remove what no package names, unless it came in the last UNNAMED_S: its package may come after it."""
        keep, old = set(wanted), time.time() - UNNAMED_S
        for file in self.folder.glob("[!.]*"):
            if file.name not in keep and file.stat().st_mtime < old:
                file.unlink()

    def clear(self) -> None:
        """Remove what a crash cut short. Raises OSError."""
        for file in self.folder.glob(".writing-*"):
            file.unlink(missing_ok=True)


def filled(word: str, values: Mapping[str, str | int]) -> str:
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", str(value))
    return word


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
