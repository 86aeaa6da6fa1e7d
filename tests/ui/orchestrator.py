"""A server's APIs, as those who order call them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from service.conftest import until
from service.ordering import ENDED, INVENTORY, MANAGER, ORDERING, OWN, item

if TYPE_CHECKING:
    from .conftest import Server


class Orchestrator:
    def __init__(self, server: Server) -> None:
        self.server = server
        headers = {"Authorization": f"Bearer {server.key}"}
        self.http = httpx.Client(base_url=server.address, headers=headers, timeout=60, trust_env=False)

    @property
    def page(self) -> str:
        return f"{self.server.address}/orders?key={self.server.key}"

    def get(self, path: str) -> Any:
        return self.http.get(path).raise_for_status().json()

    def send(self, method: str, path: str, body: object = None) -> Any:
        answer = self.http.request(method, path, json=body).raise_for_status()
        return answer.json() if answer.content else None

    def onboard(self, given: dict[str, Any]) -> str:
        """-> the id of its specification; this host is registered."""
        if not self.get(f"{MANAGER}/compute"):
            self.send("POST", f"{MANAGER}/compute", {"name": "here"})
        return str(self.send("POST", f"{OWN}/packages", given)["serviceSpecification"]["id"])

    def order(self, *items: dict[str, Any]) -> str:
        return str(self.send("POST", f"{ORDERING}/serviceOrder", {"serviceOrderItem": list(items)})["id"])

    def ended(self, order: str) -> dict[str, Any]:
        def now() -> Any:
            return self.get(f"{ORDERING}/serviceOrder/{order}")

        until(lambda: now()["state"] in ENDED, 60)
        return dict(now())

    def services(self) -> list[dict[str, Any]]:
        found = self.get(f"{INVENTORY}/service?state.ne=terminated")
        return [each | {c["name"]: c["value"] for c in each["serviceCharacteristic"]} for each in found]

    def clear(self) -> None:
        """No service, package, order or host is left."""
        self.http.put(f"{OWN}/elasticity", json={"format": "edgewright.policies/1"}).raise_for_status()
        for each in self.get(f"{ORDERING}/serviceOrder"):
            self.ended(each["id"])
        for each in self.services():
            if each["state"] == "inactive":
                self.send("PATCH", f"{INVENTORY}/service/{each['id']}", {"state": "active"})
            self.ended(self.order(item("delete", {"id": each["id"]})))
        for each in self.get(f"{INVENTORY}/service"):
            self.send("DELETE", f"{INVENTORY}/service/{each['id']}")
        for each in self.get(f"{ORDERING}/serviceOrder"):
            self.send("DELETE", f"{ORDERING}/serviceOrder/{each['id']}")
        for each in self.get(f"{OWN}/packages"):
            self.send("DELETE", f"{OWN}/packages/{each['id']}")
        for each in self.get(f"{MANAGER}/compute"):
            self.send("DELETE", f"{MANAGER}/compute/{each['id']}")
