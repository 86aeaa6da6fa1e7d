"""From an order to a service that runs: feasibility, a slice of chunks, deployment, telemetry, elasticity; and back."""
