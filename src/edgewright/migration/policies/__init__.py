"""Migration policies: rules, forecasts, learned ones."""

from __future__ import annotations

from edgewright.core import registry
from edgewright.core.contracts import Policy
from edgewright.migration.model import Scenario
from edgewright.migration.observation import Observation

# name -> factory(scenario, **parameters) -> Policy
POLICIES = {
    "never": "edgewright.migration.policies.rules:never",
    "nearest": "edgewright.migration.policies.rules:nearest",
    "greedy": "edgewright.migration.policies.rules:greedy",
    "hysteresis": "edgewright.migration.policies.rules:hysteresis",
    "forecast": "edgewright.migration.policies.forecast:forecast",
    "sarsa": "edgewright.migration.policies.learned:sarsa",
    "dqn": "edgewright.migration.policies.learned:dqn",
    "dqn-lstm": "edgewright.migration.policies.learned:dqn_lstm",
    "prospects": "edgewright.migration.policies.learned:prospects",
}


def make_policy(name: str, scenario: Scenario, /, **parameters: float) -> Policy[Observation, int]:
    """The policy of that name, or the learned one in that `.npz` file. Its action is the node where the service is to
    be.

    Raises InputError for an unknown name, a parameter that its factory does not take or allow, or a file that does not
    fit the scenario, with the reason.
    """
    learned = "edgewright.migration.policies.learned:from_file"
    policy: Policy[Observation, int] = registry.make_policy(POLICIES, learned, name, scenario, **parameters)
    return policy
