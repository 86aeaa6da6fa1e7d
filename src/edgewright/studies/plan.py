"""From a study file to its cells: scenarios read, files found, and a key per cell that says what it depends on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgewright.core.documents import load_json, load_yaml, plain, unique
from edgewright.core.errors import InputError
from edgewright.studies.capability import open_capability
from edgewright.studies.contract import Capability, Metric, ScenarioSource
from edgewright.studies.model import LABEL, ShownMetric, Study, read_study

_KEYS = "edgewright.study-cell/1"  # raise when the stored form or the key's content changes


@dataclass(frozen=True)
class Task:
    """One cell to run."""

    method: str
    scenario: str
    seed: int
    policy: str
    parameters: Mapping[str, Any]
    key: str
    """Of everything that the result depends on; the name of the stored cell."""


@dataclass(frozen=True)
class Plan:
    study: Study
    path: Path
    capability: Capability
    metrics: tuple[Metric, ...]
    """Those shown, in order."""
    sources: Mapping[str, ScenarioSource]
    tasks: tuple[Task, ...]
    """Seed by seed, so that a stopped run has every method."""


def make_plan(path: str | Path) -> Plan:
    """Read a study and everything it names. Raises InputError before anything runs."""
    path = Path(path).resolve()
    study = read_study(path)
    try:
        capability = open_capability(study.capability, path.parent)
        metrics = _metrics(study.metrics, capability)
        _check_figures(study, metrics)
        sources = [_source(given, i, path) for i, given in enumerate(study.scenarios)]
        unique((source.name for source in sources), "scenarios.name")
    except InputError as error:
        raise (error if error.source else error.at(str(path))) from None
    prepared = [_prepare(capability, source) for source in sources]
    prints = {source.name: _digest(_printed(source.data, source.folder)) for source in sources}
    methods = [
        (method.name, *_resolved(method.policy or method.name, method.parameters, path.parent))
        for method in study.methods
    ]
    if (check := getattr(capability, "check", None)) is not None:
        for i, (_, policy, parameters) in enumerate(methods):
            for scenario in prepared:
                try:
                    check(scenario, policy, parameters)
                except InputError as error:
                    field = f"methods.{i}.{error.field}"
                    raise InputError(field, error.given, error.allowed, source=error.source or str(path)) from None
    method_prints = [
        _printed({"policy_file": policy, "parameters": parameters}, path.parent) for _, policy, parameters in methods
    ]
    tasks = tuple(
        Task(
            name,
            source.name,
            seed,
            policy,
            parameters,
            _digest([_KEYS, study.capability, capability.version, prints[source.name], printed, seed]),
        )
        for seed in study.seeds
        for source in sources
        for (name, policy, parameters), printed in zip(methods, method_prints, strict=True)
    )
    return Plan(study, path, capability, metrics, {source.name: source for source in sources}, tasks)


def _prepare(capability: Capability, source: ScenarioSource) -> Any:
    try:
        return capability.prepare(source)
    except InputError as error:
        raise (error if error.source else error.at(source.where)) from None


def _metrics(shown: tuple[ShownMetric, ...] | None, capability: Capability) -> tuple[Metric, ...]:
    known = {metric.name: metric for metric in capability.metrics}
    if shown is None:
        if not known:
            raise InputError("metrics", "nothing", "the metrics that the function returns, each with name and better")
        return capability.metrics
    found = []
    for i, metric in enumerate(shown):
        given = {k: v for k, v in metric.model_dump(exclude={"name"}).items() if v is not None}
        if metric.name in known:
            found.append(replace(known[metric.name], **given))
        elif known:
            raise InputError(f"metrics.{i}.name", metric.name, f"one of {sorted(known)}")
        elif metric.better is None:
            raise InputError(f"metrics.{i}.better", "nothing", "lower or higher")
        else:
            found.append(Metric(**{"name": metric.name, "title": metric.name, "unit": "", **given}))
    return tuple(found)


def _check_figures(study: Study, metrics: tuple[Metric, ...]) -> None:
    names = [metric.name for metric in metrics]
    wanted = [(f"figures.metrics.{i}", name) for i, name in enumerate(study.figures.metrics or ())]
    for i, pair in enumerate(study.figures.trade_offs):
        wanted += [(f"figures.trade_offs.{i}.x", pair.x), (f"figures.trade_offs.{i}.y", pair.y)]
    for field, name in wanted:
        if name not in names:
            raise InputError(field, name, f"one of the shown metrics, {names}")


def _source(given: Any, index: int, study: Path) -> ScenarioSource:
    where = f"{study}: scenarios.{index}"
    if isinstance(given, Mapping):
        name = given.get("name", f"scenario-{index + 1}")
        if not isinstance(name, str) or not re.match(LABEL, name):
            raise InputError(f"scenarios.{index}.name", name, f"a text like {LABEL}")
        return ScenarioSource(name, study.parent, None, given, where)
    path = (study.parent / given).resolve()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"scenarios.{index}", given, f"a readable UTF-8 text file ({error})") from error
    load = {".yaml": load_yaml, ".yml": load_yaml, ".json": load_json}.get(path.suffix)
    data = {"text": text} if load is None else plain(load(text, source=str(path)), source=str(path))
    if not isinstance(data, Mapping):
        raise InputError("document", data, "a mapping of fields", source=str(path))
    return ScenarioSource(path.stem, path.parent, path, data, str(path))


def _resolved(policy: str, parameters: Mapping[str, Any], folder: Path) -> tuple[str, dict[str, Any]]:
    """Files as absolute paths."""
    if (folder / policy).is_file():
        policy = str(folder / policy)
    return policy, _files(parameters, folder, lambda path: str(path))


def _printed(value: Any, folder: Path) -> Any:
    """The same data with files as digests of their content."""
    return _files(value, folder, _content)


def _files(value: Any, folder: Path, change: Any, key: str = "") -> Any:
    """Replace whatever exists under a key `file`, `folder`, `*_file` or `*_folder`."""
    if isinstance(value, Mapping):
        return {k: _files(v, folder, change, str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_files(item, folder, change, key) for item in value]
    named = isinstance(value, str) and key.rpartition("_")[2] in ("file", "folder")
    return change(folder / value) if named and (folder / value).exists() else value


def _content(path: Path) -> str:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    else:
        files = [path]
        if path.suffix == ".npz":  # an exported policy: its card lies beside it
            files += [card for card in [path.with_suffix(".json")] if card.is_file()]
    return _digest([(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files])


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
