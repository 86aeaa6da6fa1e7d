"""Studies: methods x scenarios x seeds, compared with intervals (`edgewright study FILE.yaml`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.core.registry import load

if TYPE_CHECKING:
    from edgewright.studies.contract import Capability, Cell, Metric, Result, ScenarioSource
    from edgewright.studies.model import Study, read_study
    from edgewright.studies.report import StudyResult
    from edgewright.studies.study import Progress, run_study

_PLACES = {
    "Capability": "contract",
    "Cell": "contract",
    "Metric": "contract",
    "Result": "contract",
    "ScenarioSource": "contract",
    "Study": "model",
    "read_study": "model",
    "StudyResult": "report",
    "Progress": "study",
    "run_study": "study",
}

__all__ = [
    "Capability",
    "Cell",
    "Metric",
    "Progress",
    "Result",
    "ScenarioSource",
    "Study",
    "StudyResult",
    "read_study",
    "run_study",
]


def __getattr__(name: str) -> Any:
    # Nothing heavy is imported until it is used.
    if name not in _PLACES:
        raise AttributeError(name)
    return load(f"edgewright.studies.{_PLACES[name]}:{name}")
