"""Resources of the standard APIs, without their protocol: kept, searched, patched, moved through states, told of."""
