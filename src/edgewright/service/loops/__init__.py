"""The running loops: observe, decide, guard, act, record, every interval."""
