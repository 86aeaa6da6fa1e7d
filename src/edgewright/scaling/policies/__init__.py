"""Scaling policies: rules, models, learned ones. `POLICIES` names them; a path to an exported `.npz` is one too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgewright.core.contracts import Policy
from edgewright.core.errors import InputError
from edgewright.core.registry import call, load
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import Observation

# name -> factory(scenario, **parameters) -> Policy
POLICIES = {
    "fixed": "edgewright.scaling.policies.fixed:fixed",
    "threshold": "edgewright.scaling.policies.threshold:threshold",
    "hpa": "edgewright.scaling.policies.hpa:hpa",
    "vpa": "edgewright.scaling.policies.vpa:vpa",
    "model": "edgewright.scaling.policies.model_based:model_based",
    "curves": "edgewright.scaling.policies.learned:curves",
    "dqn": "edgewright.scaling.policies.learned:dqn",
    "ppo": "edgewright.scaling.policies.learned:ppo",
}


def make_policy(name: str, scenario: Scenario, **parameters: float) -> Policy[Observation, Action]:
    """The policy of that name, or the learned one in that `.npz` file, for a scenario.

    Raises InputError for an unknown name, a parameter that its factory does not take or allow, or a file that does not
    fit the scenario, with the reason.
    """
    given: tuple[Any, ...] = (scenario,)
    if name in POLICIES:
        factory = load(POLICIES[name])
    elif name.endswith(".npz") and Path(name).exists():
        factory, given = load("edgewright.scaling.policies.learned:from_file"), (scenario, Path(name))
    else:
        raise InputError("policy", name, f"one of {sorted(POLICIES)}, or the path of an exported .npz file")
    policy: Policy[Observation, Action] = call(factory, name, *given, **parameters)
    return policy
