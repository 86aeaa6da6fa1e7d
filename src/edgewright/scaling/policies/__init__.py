"""Scaling policies: rules, models, learned ones. `POLICIES` names them; a path to an exported `.npz` is one too."""

from __future__ import annotations

from edgewright.core import registry
from edgewright.core.contracts import Policy
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


def make_policy(name: str, scenario: Scenario, /, **parameters: float) -> Policy[Observation, Action]:
    """The policy of that name, or the learned one in that `.npz` file, for a scenario.

    Raises InputError for an unknown name, a parameter that its factory does not take or allow, or a file that does not
    fit the scenario, with the reason.
    """
    learned = "edgewright.scaling.policies.learned:from_file"
    policy: Policy[Observation, Action] = registry.make_policy(POLICIES, learned, name, scenario, **parameters)
    return policy
