"""Migration policies: rules, forecasts, learned ones."""

from __future__ import annotations

# name -> factory(scenario, **parameters) -> Policy
POLICIES = {
    "never": "edgewright.migration.policies.rules:never",
    "nearest": "edgewright.migration.policies.rules:nearest",
    "greedy": "edgewright.migration.policies.rules:greedy",
    "hysteresis": "edgewright.migration.policies.rules:hysteresis",
    "forecast": "edgewright.migration.policies.forecast:forecast",
}
