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
    for rows in ("1,2\n3\n", "1,2\n3,4,5\n"):
        path = tmp_path / "rows.csv"
        path.write_text("cpu,mem\n" + rows)
        with pytest.raises(InputError, match=r"rows\.csv: row 3: got 'another number of columns', allowed: 2 columns"):
            list(read_rows(path, ["cpu"]))
    path.write_text('cpu,mem\n1,"2\n')
    with pytest.raises(InputError, match=r"rows\.csv: file: .* a readable CSV file"):
        list(read_rows(path, ["cpu"]))
    path = tmp_path / "cut.csv"
    path.write_bytes(b"cpu\n0.5\n\xff\n")
    with pytest.raises(InputError, match=r"cut\.csv: file: .* a readable CSV file in UTF-8 .*invalid start byte"):
        list(read_rows(path, ["cpu"]))
