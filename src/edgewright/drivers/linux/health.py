"""Whether a service answers, asked from the network namespace in which it runs."""

from __future__ import annotations

import urllib.request

from edgewright.drivers.linux.namespaces import inside

TIMEOUT_S = 2.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows no service of this host


def ask(url: str, namespace: str | None) -> None:
    """Raises OSError, or http.client.HTTPException for what speaks no HTTP, unless the answer is 2xx."""
    if namespace is not None:
        return inside(namespace, lambda: ask(url, None))
    with _DIRECT.open(url, timeout=TIMEOUT_S):
        return None
