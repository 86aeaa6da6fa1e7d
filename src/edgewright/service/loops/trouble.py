"""What goes wrong in a loop: an event when it comes, changes and goes, a warning while it lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterator

REFUSED = "refused "  # and the key of what the driver refused


class Troubles(dict[str, str]):
    """What it is about -> details. `event(kind, detail, *service)` records."""

    def __init__(self, event: Callable[..., None]) -> None:
        super().__init__()
        self._event = event

    @property
    def lines(self) -> list[str]:
        return [f"{about}: {detail}" for about, detail in list(self.items())]

    @contextlib.contextmanager
    def watching(self, about: str) -> Iterator[None]:
        """Whatever is raised inside becomes trouble: a policy is anyone's code, a driver meets the world, and the loop
        outlives both.
        """
        try:
            yield
            if self.pop(about, None) is not None:
                self._event(f"{about}_back", "works again")
        except Exception as error:
            self.warn(about, f"{type(error).__name__}: {error}", f"{about}_failed")

    def warn(self, about: str, detail: str, kind: str, *service: str) -> None:
        if self.get(about) != detail:
            self._event(kind, detail, *service)
        self[about] = detail

    def forget_refusals(self, refused: Container[str]) -> None:
        """Of what is refused no longer."""
        for about in [about for about in self if about.startswith(REFUSED)]:
            if about.removeprefix(REFUSED) not in refused:
                del self[about]
