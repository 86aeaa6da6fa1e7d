"""Debian packages unpacked into a folder, not installed: the host's own package state is neither read nor changed.

They come from where the host's own sources point, signatures checked; the suite may be another one.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

TIMEOUT_S = 300.0
APT = Path("/etc/apt")


class FetchError(Exception):
    """What failed, and apt's own reason."""


def fetch(packages: Sequence[str], folder: Path, suite: str | None = None) -> None:
    """With all that they need, libraries included; `suite` None: the host's own."""
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise FetchError(f"no program `{program}` on PATH")
    sources = "\n\n".join(_sources(suite))
    if not sources:
        raise FetchError("this host has no package sources of a Debian release")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as made:
        work = Path(made)
        (work / "own.sources").write_text(sources)
        for name in ("lists/partial", "cache/archives/partial"):
            (work / name).mkdir(parents=True)
        options = {
            "Dir::Etc::sourcelist": work / "own.sources",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::Lists": work / "lists",
            "Dir::Cache": work / "cache",
            "Dir::State::status": "/dev/null",  # as if nothing were installed: all libraries come along
            "APT::Sandbox::User": "root",  # the folders are ours, not those of `_apt`
        }
        apt = ["apt-get", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
        _do("apt-get update", [*apt, "update", "--error-on=any"])
        _do("apt-get install", [*apt, "install", "--no-install-recommends", "--download-only", "-y", *packages])
        for package in sorted((work / "cache/archives").glob("*.deb")):
            _do(f"dpkg-deb -x {package.name}", ["dpkg-deb", "-x", str(package), str(folder)])


def _do(what: str, command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise FetchError(f"{what}: no end within {TIMEOUT_S:g} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()
        raise FetchError(f"{what}: {lines[0] if lines else f'exit status {done.returncode}'}")


def _sources(suite: str | None) -> Iterator[str]:
    """The host's own sources of its Debian release, with the suite changed: deb822 paragraphs, sources.list(5)."""
    release = platform.freedesktop_os_release()
    codename = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian" or not codename:
        return
    for file in sorted(APT.glob("sources.list.d/*.sources")):
        for paragraph in re.split(r"\n\s*\n", file.read_text()):
            suites = re.search(r"^Suites:(.*)$", paragraph, re.MULTILINE)
            types = re.search(r"^Types:(.*)$", paragraph, re.MULTILINE)
            if suites and types and codename in suites[1].split() and "deb" in types[1].split():
                kept = "\n".join(line for line in paragraph.splitlines() if not line.startswith("#"))
                yield re.sub(r"^Suites:.*$", f"Suites: {suite or codename}", kept, flags=re.MULTILINE)
    for file in [APT / "sources.list", *sorted(APT.glob("sources.list.d/*.list"))]:
        for line in file.read_text().splitlines() if file.exists() else []:
            entry = re.fullmatch(rf"\s*deb\s+(?:\[(.*)\]\s+)?(\S+)\s+{codename}\s+(.+?)\s*(?:#.*)?", line)
            if entry:
                signed = re.search(r"signed-by=(\S+)", entry[1] or "")
                by = f"\nSigned-By: {signed[1]}" if signed else ""
                yield f"Types: deb\nURIs: {entry[2]}\nSuites: {suite or codename}\nComponents: {entry[3]}{by}"
