"""The Slice Manager: shares of hosts, networks and radio as chunks, slices made of them, services that run in them."""
