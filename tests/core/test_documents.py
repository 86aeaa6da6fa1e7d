"""Files are read strictly, and every error names the file, the field, what was given and what is allowed."""

from __future__ import annotations

import contextlib
import math
import pickle
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from edgewright.core.documents import Document, Part, parse, read
from edgewright.core.errors import CapacityError, InputError


class Inner(Part):
    rate: Annotated[float, Field(ge=0)] = 1.0


class Thing(Document):
    format: Literal["edgewright.thing/1"]
    name: str
    inner: tuple[Inner, ...] = ()


GOOD = '{"format": "edgewright.thing/1", "name": "a", "inner": [{"rate": 2}]}'


def test_good_document() -> None:
    thing = parse(Thing, GOOD, source="x")
    assert thing.inner[0].rate == 2.0


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"format": "edgewright.thing/2", "name": "a"}', "format"),
        ('{"format": "edgewright.thing/1"}', "name"),
        ('{"format": "edgewright.thing/1", "name": 3}', "name"),
        ('{"format": "edgewright.thing/1", "name": "a", "colour": 1}', "colour"),
        ('{"format": "edgewright.thing/1", "name": "a", "inner": [{"rate": -1}]}', "inner.0.rate"),
        ('{"format": "edgewright.thing/1", "name": "a", "inner": [{"rate": "2"}]}', "inner.0.rate"),
        ('{"format": "edgewright.thing/1", "name": "a", "inner": [{"rate": NaN}]}', "number"),
        ('{"format": "edgewright.thing/1", "name": "a", "name": "b"}', "key"),
        ("[1, 2]", "document"),
        ("{", "syntax"),
        ('{"format": "edgewright.thing/1", "name": "\\uD800"}', "name"),
        ("[" * 100_000, "syntax"),
        ('{"format": ' + "9" * 5000 + "}", "syntax"),
    ],
)
def test_bad_json_names_the_field(text: str, field: str) -> None:
    with pytest.raises(InputError) as error:
        parse(Thing, text, source="thing.json")
    assert error.value.field == field
    assert error.value.source == "thing.json"
    assert error.value.allowed


def test_escaped_characters() -> None:
    assert parse(Thing, GOOD.replace('"a"', '"\\ud83d\\ude00 \\u00e9"'), source="x").name == "😀 é"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("format: edgewright.thing/1\nname: a\nname: b\n", "key"),
        ("format: edgewright.thing/1\nname: a\ninner: [{rate: .nan}]\n", "inner.0.rate"),
        ("format: edgewright.thing/1\nname: a\ninner: [{rate: .inf}]\n", "inner.0.rate"),
        ("format: edgewright.thing/1\nname: [1\n", "syntax"),
        ("format: edgewright.thing/1\nname: !!python/object/apply:os.getcwd []\n", "syntax"),
        ("format: edgewright.thing/1\nname: 2024-13-45\n", "syntax"),
        ("format: edgewright.thing/1\nname: 2024-12-24\n", "document"),
        ("format: edgewright.thing/1\nname: !!map 5\n", "syntax"),
        ("format: edgewright.thing/1\nname: !!bool x\n", "syntax"),
        ("format: edgewright.thing/1\nname: !!timestamp x\n", "syntax"),
        ("format: " + "9" * 5000, "syntax"),
        ("format: 0x" + "f" * 5000, "syntax"),
        ("[" * 100_000, "syntax"),
        ("format: edgewright.thing/1\nname: a\ninner: &a [*a]\n", "aliases"),
        ("a: &a {x: 1}\nb: {<<: *a}\n", "key"),
    ],
)
def test_bad_yaml(text: str, field: str, tmp_path: Path) -> None:
    path = tmp_path / "thing.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read(Thing, path)
    assert error.value.field == field
    assert str(path) in str(error.value)


def test_aliases_do_not_multiply() -> None:
    bomb = "\n".join(["a0: &a0 x", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11))])
    for text in (
        bomb,
        f"{bomb}\n? *a10\n: x",
        f"{bomb}\nb: !!pairs [a: *a10]",
        f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 100)}]",
    ):
        with pytest.raises(InputError, match=r"aliases|unhashable"):
            parse(Thing, text, source="x", yaml_syntax=True)
    few = "format: edgewright.thing/1\nname: a\ninner: [&one {rate: 2.0}, *one]\n"
    assert len(parse(Thing, few, source="x", yaml_syntax=True).inner) == 2


@settings(max_examples=300)
@given(st.text(alphabet="ab:{}[]&*!<?|>-#'\"\n \t.0x1_\\%@,~", max_size=40), st.booleans())
def test_any_text_is_read_or_refused(text: str, yaml_syntax: bool) -> None:
    with contextlib.suppress(InputError):
        parse(Thing, text, source="x", yaml_syntax=yaml_syntax)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="readable"):
        read(Thing, tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="readable"):
        read(Thing, tmp_path / "binary.json")


def test_no_infinity_slips_in() -> None:
    assert not math.isinf(parse(Thing, GOOD, source="x").inner[0].rate)
    with pytest.raises(InputError):
        parse(Thing, GOOD.replace("2", "1e999"), source="x")


def test_errors_cross_processes_whole() -> None:
    bad = pickle.loads(pickle.dumps(InputError("rate", -1, ">= 0", source="f.yaml")))
    assert (bad.field, bad.given, bad.allowed, bad.source) == ("rate", -1, ">= 0", "f.yaml")
    full = pickle.loads(pickle.dumps(CapacityError("cpu", 2.0, 1.0, owner="a")))
    assert (full.resource, full.wanted, full.left, full.owner) == ("cpu", 2.0, 1.0, "a")
