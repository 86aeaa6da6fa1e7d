"""Where the controllers are, and the formats of both versions.

cgroup v2 is checked on plain files in its format: the hosts of these tests have one version only.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.drivers.linux.cgroups import (
    CONTROLLERS,
    MINIMUM_QUOTA_US,
    Group,
    Place,
    Refused,
    Unavailable,
    cpu_quota,
    enclosing_limits,
    find_place,
    hierarchies,
)


def detect(folder: Path, mounts: list[str], own: str) -> dict[str, tuple[int, str, str]]:
    (folder / "mountinfo").write_text("\n".join(mounts))
    (folder / "own").write_text(own)
    found = hierarchies(folder / "mountinfo", folder / "own")
    return {name: (h.version, str(h.mount), str(h.own)) for name, h in found.items()}


def test_version_1_with_an_empty_version_2_beside_it(tmp_path: Path) -> None:
    unified = tmp_path / "unified"
    unified.mkdir()
    (unified / "cgroup.controllers").write_text("\n")
    mounts = [
        "30 25 0:26 / /cg/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct",
        "31 25 0:27 / /cg/memory rw - cgroup cgroup rw,memory",
        f"32 25 0:28 / {unified} rw - cgroup2 cgroup2 rw",
    ]
    assert detect(tmp_path, mounts, "3:memory:/user/1\n2:cpu,cpuacct:/\n0::/elsewhere\n") == {
        "cpu": (1, "/cg/cpu,cpuacct", "/cg/cpu,cpuacct"),
        "cpuacct": (1, "/cg/cpu,cpuacct", "/cg/cpu,cpuacct"),
        "memory": (1, "/cg/memory", "/cg/memory/user/1"),
    }


def test_version_2_and_a_container_that_sees_its_part_only(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    own = "0::/docker/abc/inner\n"
    whole = detect(tmp_path, [f"30 25 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw"], own)
    assert whole == {name: (2, str(tmp_path), f"{tmp_path}/docker/abc/inner") for name in CONTROLLERS}
    part = detect(tmp_path, [f"30 25 0:26 /docker/abc {tmp_path} rw - cgroup2 cgroup2 rw"], own)
    assert part["cpu"] == (2, str(tmp_path), f"{tmp_path}/inner")


def test_a_host_without_controllers_says_which(tmp_path: Path) -> None:
    assert detect(tmp_path, ["20 1 0:3 / /proc rw - proc proc rw"], "0::/\n") == {}
    with pytest.raises(Unavailable, match="controller 'cpu'"):
        find_place("edgewright-nowhere", {})


@given(st.floats(min_value=0.001, max_value=64), st.sampled_from([1_000, 10_000, 100_000]))
def test_quotas_are_what_was_asked_and_what_the_kernel_enforces(cores: float, period_us: int) -> None:
    quota_us, period = cpu_quota(cores, period_us)
    assert quota_us >= MINIMUM_QUOTA_US
    assert period_us <= period <= 1_000_000
    assert quota_us / period == pytest.approx(cores, abs=0.5 / period, rel=1e-3)


def test_quotas_at_the_edges() -> None:
    assert cpu_quota(None) == (-1, 10_000)
    assert cpu_quota(0.3) == (3_000, 10_000)
    assert cpu_quota(0.05) == (1_000, 20_000)
    with pytest.raises(Refused, match=r"0\.0009 cores"):
        cpu_quota(0.0009)


@pytest.fixture
def group(tmp_path: Path) -> Group:
    """A group of version 2, as files."""
    made = Group(Place(tmp_path, 2, tmp_path, tmp_path, 2), "one")
    made.create()
    files = {
        "cpu.max": "max 100000\n",
        "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nnr_periods 40\nnr_throttled 8\nthrottled_usec 750000\n",
        "memory.max": "max\n",
        "memory.current": "90000000\n",
        "memory.stat": "anon 60000000\ninactive_file 20000000\n",
        "memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\n",
    }
    for name, text in files.items():
        (tmp_path / "one" / name).write_text(text)
    return made


def test_version_2_limits(group: Group, tmp_path: Path) -> None:
    assert group.cpu_limit() is None
    assert group.memory_limit() is None
    group.set_cpu_limit(0.25)
    group.set_memory_limit(80_000_000)
    assert (tmp_path / "one" / "cpu.max").read_text() == "2500 10000"
    assert group.cpu_limit() == 0.25
    assert group.memory_limit() == 80_000_000
    with pytest.raises(Refused, match="EBUSY, 70000000 bytes in use"):
        group.set_memory_limit(50_000_000)  # the kernel would kill
    assert group.memory_limit() == 80_000_000
    group.set_cpu_limit(None)
    group.set_memory_limit(None)
    assert (tmp_path / "one" / "cpu.max").read_text() == "max 10000"
    assert (tmp_path / "one" / "memory.max").read_text() == "max"


def test_capacity_is_what_the_groups_around_ours_leave(group: Group, tmp_path: Path) -> None:
    inner = Place(tmp_path / "one", 2, tmp_path / "one", tmp_path / "one", 2)
    assert enclosing_limits(inner) == (None, None)
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text("1000000\n")
    assert enclosing_limits(inner) == (1.5, 1_000_000)
    group.set_cpu_limit(0.5)
    assert enclosing_limits(inner) == (0.5, 1_000_000)


def test_version_2_counters(group: Group) -> None:
    counters = group.counters()
    assert (counters.cpu_s, counters.throttled_s) == (2.5, 0.75)
    assert (counters.periods, counters.throttled_periods) == (40, 8)
    assert (counters.memory_bytes, counters.oom_kills) == (70_000_000, 1)
