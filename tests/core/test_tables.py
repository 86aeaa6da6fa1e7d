"""CSV files of the user: what is read, and what is said of one that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewright.core.errors import InputError
from edgewright.core.tables import read_rows


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_with_a_byte_order_mark_or_without(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "loads.csv"
    path.write_text(f"{mark}cpu,mem\n0.5,0.25\n", encoding="utf-8")
    assert list(read_rows(path, ["cpu"])) == [("row 2", {"cpu": "0.5", "mem": "0.25"})]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: file: got '.*none\.csv', allowed: a readable CSV file .*No such"):
        list(read_rows(tmp_path / "none.csv", []))
    path = tmp_path / "cut.csv"
    path.write_bytes(b"cpu\n0.5\n\xff\n")
    with pytest.raises(InputError, match=r"cut\.csv: file: .* a readable CSV file in UTF-8 .*invalid start byte"):
        list(read_rows(path, ["cpu"]))
