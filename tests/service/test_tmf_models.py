"""The models of the TM Forum APIs: as the specifications have them, and what they take and refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from edgewright.service.tmf import models
from edgewright.service.tmf.kinds import knows
from edgewright.service.tmf.models import tmf638, tmf641
from edgewright.service.tmf.models.generate import SERVED
from edgewright.service.tmf.models.part import DateTime, Uri

DATA = Path(os.environ.get("EDGEWRIGHT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "tmf"


def test_generated_from_the_specifications(tmp_path: Path) -> None:
    pytest.importorskip("datamodel_code_generator", reason="needs datamodel-code-generator (the [dev] extra)")
    if not DATA.is_dir():
        pytest.skip(f"no specifications: {DATA}")
    module = "edgewright.service.tmf.models.generate"
    subprocess.run([sys.executable, "-m", module, DATA, tmp_path], check=True)
    for number in SERVED:
        name = f"tmf{number}.py"
        assert (tmp_path / name).read_text() == (Path(str(models.__file__)).parent / name).read_text(), name


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("2026-01-01T00:00:00Z", True),
        ("2026-01-01t00:00:00.123456789z", True),
        ("2026-01-01T00:00:00+23:59", True),
        ("2016-12-31T23:59:60Z", True),  # a leap second
        ("2026-02-30T00:00:00Z", False),
        ("2026-01-01T24:00:00Z", False),
        ("2026-01-01T00:00:00", False),
        ("2026-01-01", False),
        ("2026-01-01T00:00:00Z\n", False),
        ("٢٠٢٦-01-01T00:00:00Z", False),
        ("", False),
    ],
)
def test_date_times(text: str, fine: bool) -> None:
    check(DateTime, text, fine)


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("http://a.example/b?c=d#e", True),
        ("urn:a:b", True),
        ("/tmf-api/serviceOrdering/v4/serviceOrder/1", True),
        ("", True),
        ("//h/x", True),
        ("a?b=c:d", True),
        ("http://[::1]:80/", True),
        ("http://a/%7e", True),
        ("http://a/%zz", False),
        ("http://a b/", False),
        ("http://[/", False),
        ("a\\b", False),
        ("é", False),
        ("1:a", False),
        ("a#b#c", False),
    ],
)
def test_uris(text: str, fine: bool) -> None:
    check(Uri, text, fine)


def check(kind: object, text: str, fine: bool) -> None:
    if fine:
        assert TypeAdapter(kind).validate_python(text) == text
    else:
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(text)


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("id", True),
        ("@type", True),
        ("serviceOrderItem", True),
        ("serviceOrderItem.id", True),
        ("serviceOrderItem.service.serviceSpecification.id", True),
        ("serviceOrderItem.service.serviceCharacteristic.value", True),
        ("serviceOrderItem.service.serviceCharacteristic.value.of.any.depth", True),
        ("serviceOrderItem.serviceOrderItem.serviceOrderItem.id", True),
        ("wind", False),
        ("type", False),
        ("id.x", False),
        ("state.x", False),
        ("serviceOrderItem.wind", False),
        ("serviceOrderItem.0.id", False),
        ("", False),
        (".", False),
        ("model_config", False),
    ],
)
def test_paths_that_a_resource_has(path: str, known: bool) -> None:
    assert knows(tmf641.ServiceOrder)(path) is known


def test_null_is_no_value_but_where_anything_is() -> None:
    given = {"state": "active", "serviceSpecification": {"id": "s"}}
    anything = given | {"serviceCharacteristic": [{"name": "a", "value": None}]}
    assert tmf638.ServiceCreate.model_validate(anything).model_dump(by_alias=True, exclude_unset=True) == anything
    with pytest.raises(ValidationError):
        tmf638.ServiceCreate.model_validate(given | {"name": None})
