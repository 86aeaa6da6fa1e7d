"""Policies in YAML: when a metric of a service says so, its replicas change or CPU moves between slices."""
