"""A reverse proxy for the replicas of one service: `python -m edgewright.drivers.balancer`, ordered by `control`."""
