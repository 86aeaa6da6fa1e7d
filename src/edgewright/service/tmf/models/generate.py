"""Makes the models of the served APIs from the specifications: `python -m ... FOLDER [OUTPUT]` (TMF*.swagger.json)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SERVED = (633, 638, 641)
PART = "edgewright.service.tmf.models.part"
EXTENDING = ("@baseType", "@schemaLocation", "@type")
OWN = {"Error", "EventSubscription", "EventSubscriptionInput"}  # the same for all APIs: see errors and hubs
TYPES = {"uri": f"{PART}.Uri", "date-time": f"{PART}.DateTime"}
OPTIONS = (
    "--input-file-type=openapi --output-model-type=pydantic_v2.BaseModel --target-python-version=3.11"
    f" --base-class={PART}.Part --enum-field-as-literal=all --remove-special-field-name-prefix --disable-timestamp"
    " --use-standard-collections --use-union-operator --no-formatters"
).split()
AFTERWARDS = (
    (r" \| None = None\n", " = absent()\n"),  # optional in the specification: absent, never null
    (r" \| None = Field\(None, ", " = absent("),
    (r"    model_config = ConfigDict\(\n.*\n    \)\n", ""),  # our types are no arbitrary ones
)
Json = dict[str, Any]


def models(specification: Path, output: Path) -> None:
    """Write the module of one API."""
    schemas = served_schemas(json.loads(specification.read_text(encoding="utf-8")))
    document = {"openapi": "3.0.3", "info": {"title": "", "version": ""}, "components": {"schemas": schemas}}
    name = specification.name.partition(".")[0]
    header = f'"""Generated from the specification of {name}: see generate.py."""'
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / f"{name}.json"
        given.write_text(json.dumps(document), encoding="utf-8")
        generate = ["-m", "datamodel_code_generator", *OPTIONS, f"--custom-file-header={header}"]
        subprocess.run([sys.executable, *generate, f"--input={given}", f"--output={output}"], check=True)
    made = output.read_text(encoding="utf-8").replace(f"{PART} import ", f"{PART} import absent, ")
    for old, new in AFTERWARDS:
        made = re.sub(old, new, made)
    output.write_text(made, encoding="utf-8")
    for verb in (["check", "--fix", "--select=I,F401,UP"], ["format"]):
        subprocess.run([sys.executable, "-m", "ruff", *verb, "--quiet", "--line-length=120", output], check=True)


def served_schemas(specification: Json) -> Json:
    """Those that the operations need which a server offers, without texts, with our types."""
    definitions = specification["definitions"]
    operations = {path: each for path, each in specification["paths"].items() if not path.startswith("/listener/")}
    waiting, needed = set(_references(operations)) - OWN, set[str]()
    while waiting:
        needed.add(name := waiting.pop())
        waiting |= set(_references(definitions[name])) - needed
    objects = {name for name in needed if "properties" in definitions[name]}
    return {name: _object(name, definitions, objects) for name in sorted(objects)}


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield _name(part)
        part = list(part.values())
    for each in part if isinstance(part, list) else ():
        yield from _references(each)


def _name(reference: Json) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _object(name: str, definitions: Json, objects: set[str]) -> Json:
    properties, required = definitions[name]["properties"], definitions[name].get("required", [])
    given = name.endswith(("_Create", "_Update"))
    # A slip of some specifications: required, but not described. What the server makes nobody gives.
    slips: Json = {} if given else {key: {} for key in required if key not in properties}
    made: Json = {
        "type": "object",
        "required": [key for key in required if key in properties],
        "properties": slips
        | {
            key: _plain(each, definitions, objects)
            for key, each in properties.items()
            if key not in EXTENDING or key in required
        },
    }
    # An update has them only where they can be changed.
    if "@type" in properties or not name.endswith("_Update"):
        made["customBasePath"] = f"{PART}.Extensible"
    return made


def _plain(schema: Json, definitions: Json, objects: set[str]) -> Json:
    if "$ref" in schema:
        if (name := _name(schema)) in objects:
            return {"$ref": f"#/components/schemas/{name}"}
        schema = definitions[name]  # of a scalar, or of anything
    made: Json = {key: schema[key] for key in ("type", "enum", "minItems") if key in schema}
    if schema.get("format") in TYPES:
        made["customTypePath"] = TYPES[schema["format"]]
    if "items" in schema:
        made["items"] = _plain(schema["items"], definitions, objects)
    return made


def main(folder: Path, output: Path) -> None:
    for number in SERVED:
        models(folder / f"TMF{number}.swagger.json", output / f"tmf{number}.py")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent)
