"""The orchestrator's HTTP side: its own API, the Slice Manager's, health and metrics."""
