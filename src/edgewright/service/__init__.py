"""The running orchestrator."""

CHANGE_TIMEOUT_S = 180.0  # of a service: replicas start until they are healthy
