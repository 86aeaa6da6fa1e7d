"""A small Linux for virtual machines: Debian's cloud kernel, and busybox and Python in memory; there is no disk.

`python -m edgewright.drivers.linux.guest` makes it once, in the user's cache.
"""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewright.core.files import cache_folder, make_once
from edgewright.drivers.linux.edge import GATEWAY
from edgewright.drivers.linux.packages import FetchError, fetch

MAKE = "python -m edgewright.drivers.linux.guest"
PACKAGES = ("linux-image-cloud-amd64", "busybox-static", "python3-minimal")
MACHINES = ("x86_64",)
MODULES = ("virtio_pci", "virtio_net", "virtio_blk")
LIBRARIES = ("ld-linux-*.so.*", "libc.so.*", "libm.so.*", "libz.so.*", "libexpat.so.*")  # of python3
PYTHON = "/usr/bin/python3"
INIT = f"""#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /dev /tmp
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
while read module; do $b insmod $module; done < /modules
. /address
$b ip link set lo up
$b ip addr add $ADDRESS/32 dev eth0
$b ip link set eth0 up
$b ip route add {GATEWAY} dev eth0
$b ip route add default via {GATEWAY}
exec /start
"""


class GuestMissing(Exception):
    """Why there is no guest."""


@dataclass(frozen=True)
class Guest:
    """Its files."""

    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initramfs(self) -> Path:
        return self.folder / "initramfs"

    def prepare(
        self,
        initramfs: Path,
        address: str,
        command: Sequence[str],
        files: Mapping[str, Path],
        environment: Mapping[str, str],
    ) -> None:
        """Write the file that a machine boots from, to become this command; `files`: of ours, by their path in it."""
        with tempfile.TemporaryDirectory(dir=initramfs.parent, prefix=".preparing-") as made:
            tree = Path(made)
            for name, source in files.items():
                there = tree / name.lstrip("/")
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, there)
            (tree / "address").write_text(f"ADDRESS={shlex.quote(address)}\n")
            exports = [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
            (tree / "start").write_text(f"#!/bin/busybox sh\n{''.join(exports)}exec {shlex.join(command)}\n")
            (tree / "start").chmod(0o755)
            own = _archive(tree, self.folder / "busybox")
        base = self.initramfs.read_bytes()
        initramfs.write_bytes(base + bytes(-len(base) % 4) + own)  # later archives add to earlier ones


def find() -> Guest:
    """Made before. Raises GuestMissing."""
    if not (folder := _folder()).is_dir():
        raise GuestMissing(f"no guest in {folder}: `{MAKE}` makes one")
    return Guest(folder)


def obtain() -> Guest:
    """`find`, else make it. Raises GuestMissing."""
    if platform.machine() not in MACHINES:
        raise GuestMissing(f"no guest for {platform.machine()}, only for {', '.join(MACHINES)}")
    try:
        make_once(_folder(), _make)
    except FetchError as error:
        raise GuestMissing(f"cannot fetch the guest: {error}") from None
    return find()


def _folder() -> Path:
    return cache_folder() / f"guest-1-{platform.machine()}"


def _make(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".packages-") as made:
        packages, tree = Path(made) / "packages", Path(made) / "tree"
        packages.mkdir()
        fetch(PACKAGES, packages)
        (kernel,) = packages.glob("boot/vmlinuz-*")
        shutil.copyfile(kernel, folder / "vmlinuz")
        shutil.copy(packages / "bin/busybox", folder / "busybox")
        copies = [packages / "bin/busybox", packages / "usr/bin/python3", *packages.glob("usr/bin/python3.*")]
        copies += [file for name in LIBRARIES for file in packages.glob(f"**/x86_64-linux-gnu/{name}")]
        copies += [packages / "lib64/ld-linux-x86-64.so.2", *packages.glob("usr/lib/python3.*/**/*")]
        modules = _in_order(MODULES, {file.stem: file for file in packages.glob("lib/modules/**/*.ko")})
        for source in [*copies, *modules]:
            if source.is_dir():
                continue
            there = tree / source.relative_to(packages)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, there, follow_symlinks=False)
        (tree / "modules").write_text("".join(f"/{file.relative_to(packages)}\n" for file in modules))
        (tree / "init").write_text(INIT)
        (tree / "init").chmod(0o755)
        (folder / "initramfs").write_bytes(_archive(tree, folder / "busybox"))


def _in_order(names: Sequence[str], files: Mapping[str, Path]) -> list[Path]:
    """Modules, each after those that it says it depends on."""
    found: list[Path] = []
    for name in names:
        if name not in files:
            raise FetchError(f"the kernel has no module {name}.ko")
        depends = re.search(rb"\0depends=([^\0]*)\0", b"\0" + files[name].read_bytes())
        before = depends[1].decode().split(",") if depends and depends[1] else []
        found += [file for file in [*_in_order(before, files), files[name]] if file not in found]
    return found


def _archive(tree: Path, busybox: Path) -> bytes:
    """As the kernel reads it (cpio "newc"), uncompressed: an emulated machine is slow at that."""
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    done = subprocess.run(
        [busybox, "cpio", "-o", "-H", "newc"],
        input="".join(f"{name}\n" for name in names).encode(),
        cwd=tree,
        capture_output=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    try:
        print(obtain().folder)
    except GuestMissing as missing:
        sys.exit(str(missing))
