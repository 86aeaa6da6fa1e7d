"""JSON merge patch (RFC 7396)."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def merge_patch(target: Any, patch: Json) -> Json:
    """`target` as `patch` changes it: null removes, objects merge, anything else replaces (RFC 7396, clause 2).

    Both stay as they are; the result shares with them what it did not change.
    """
    if not isinstance(patch, dict):  # not in our APIs, but in the RFC
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
