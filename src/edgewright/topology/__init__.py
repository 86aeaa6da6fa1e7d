"""5G infrastructure: cells, switches in rings, edge sites."""
