"""What goes between hosts: messages and images, whole."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.core.errors import InputError
from edgewright.drivers.linux import sessions
from edgewright.drivers.linux.agent import get, put
from edgewright.drivers.linux.edge import Edge
from edgewright.drivers.linux.hosts import Host
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.sessions import Here, copy_images, listed

known = st.one_of(
    st.none(),
    st.integers(),
    st.text(),
    st.binary(),
    st.builds(Path, st.just("/a b")),
    st.builds(Process, st.integers(1), st.integers(0)),
    st.builds(Edge, st.text(), st.tuples(st.just("a"))),
)


@given(st.recursive(known, lambda one: st.lists(one) | st.dictionaries(st.text(), one)))
def test_messages_come_as_they_went(message: Any) -> None:
    stream = io.BytesIO()
    put(stream, message, lambda other: pytest.fail(f"{other!r}"))
    stream.write(bytes(4))
    stream.seek(0)
    if message is not None:
        assert get(stream, lambda number: pytest.fail(f"{number}")) == message
        assert get(stream, lambda number: pytest.fail(f"{number}")) is None
        with pytest.raises(EOFError):
            get(stream, lambda number: pytest.fail(f"{number}"))


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(1, 30))
def test_images_are_copied_whole_in_pieces(sizes: list[int], chunk: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sessions, "CHUNK_BYTES", chunk)
        source, target = Here(Path(folder) / "one"), Here(Path(folder) / "two")
        for session in (source, target):
            (session.images("web") / "image").mkdir(parents=True)
        contents = {f"{i}.img": bytes([i + 1]) * size for i, size in enumerate(sizes)}
        for name, content in contents.items():
            (source.images("web") / "image" / name).write_bytes(content)
        for pieces in sessions._pieces(listed(source.images("web") / "image")):
            assert sum(size for _, _, size in pieces) <= chunk
        copy_images(source, target, "web", "image")
        assert {file.name: file.read_bytes() for file in (target.images("web") / "image").iterdir()} == contents


@pytest.mark.parametrize("name", ["../one", "/tmp/one", "a/b", ".."])
def test_a_host_does_not_choose_where_its_images_are_written(name: str, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    with pytest.raises(OSError, match="no image's name"):
        sessions.write(tmp_path / "two", [(name, 0, 1)], [b"1"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["two"]


def test_what_goes_along_needs_the_standard_library_only(tmp_path: Path) -> None:
    (tmp_path / "modules").write_bytes(sessions._modules())
    names = ["agent", "preflight", "sessions", "trees", "criu", "edge"]
    code = "".join(f"import edgewright.drivers.linux.{name}\n" for name in names)
    code = f"import sys\nsys.path.insert(0, {str(tmp_path / 'modules')!r})\n{code}"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_a_host_is_reached_by_words_that_no_shell_divides() -> None:
    host = Host("root@edge", "/a b", 2222, "/key file", "/known")
    words = host.command(["echo", "$HOME; reboot"])
    assert words[-3:] == ["--", "root@edge", "echo '$HOME; reboot'"]
    assert {"-oPort=2222", '-oIdentityFile="/key file"', "-oBatchMode=yes"} < set(words)
    assert not any("StrictHostKeyChecking" in word for word in words)
    for destination, folder in (("-oProxyCommand=true", "/a"), ("", "/a"), ("edge", "a")):
        with pytest.raises(InputError):
            Host(destination, folder)
