"""Other machines on which nodes of an Edge live, reached over ssh."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from edgewright.core.errors import InputError

CONNECT_TIMEOUT_S, ALIVE_S, ALIVE_TIMES = 10, 3, 3
# A master that others share may hang or end with them.
OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": CONNECT_TIMEOUT_S,
    "ServerAliveInterval": ALIVE_S,
    "ServerAliveCountMax": ALIVE_TIMES,
    "ControlPath": "none",
}


@dataclass(frozen=True)
class Host:
    """Reached as root without a question. What is not given is as ssh's own configuration has it.

    `folder`: there, on a tmpfs, for images and locks; each orchestrator has one of its own. `python`: 3.11 or newer.
    """

    destination: str
    folder: str
    port: int | None = None
    identity: str = ""
    known_hosts: str = ""
    python: str = "python3"

    def __post_init__(self) -> None:
        if not self.destination or self.destination.startswith("-"):
            raise InputError("destination", self.destination, "[user@]host")
        if not self.folder.startswith("/"):
            raise InputError("folder", self.folder, "an absolute path")

    def command(self, words: Sequence[str]) -> list[str]:
        """That runs these words there."""
        options = {name: str(value) for name, value in OPTIONS.items()}
        if self.port is not None:
            options["Port"] = str(self.port)
        if self.identity:
            options |= {"IdentityFile": f'"{self.identity}"', "IdentitiesOnly": "yes"}
        if self.known_hosts:
            options["UserKnownHostsFile"] = f'"{self.known_hosts}"'
        given = [f"-o{name}={value}" for name, value in options.items()]
        return ["ssh", "-T", *given, "--", self.destination, shlex.join(words)]
