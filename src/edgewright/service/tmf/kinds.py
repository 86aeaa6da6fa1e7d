"""APIs of the TM Forum and the resources that they keep, as values; and what every change of one does, without HTTP.

A change, what it does elsewhere, and the events that tell of it are one transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

from edgewright.core.documents import input_error
from edgewright.core.errors import InputError
from edgewright.core.locks import NamedLocks
from edgewright.service.refusals import Conflict, NotFound
from edgewright.service.resources.collection import Collection
from edgewright.service.resources.machine import Machine
from edgewright.service.resources.outbox import publish
from edgewright.service.resources.patch import merge_patch

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime

Json = dict[str, Any]
_PATCHING = NamedLocks()  # by kind and id
CHANGES = ("AttributeValueChange", "Change")  # names of the event that tells of any change
# What tells of a changed attribute instead.
TOLD_BY = {"state": "StateChange", "milestone": "Milestone", "jeopardyAlert": "Jeopardy"}


@dataclass(frozen=True)
class Kind:
    """A kind of resource.

    Hooks run in the transaction of the change, which they must not write around: the database has one writer. What they
    raise undoes the change.
    """

    name: str  # in paths and events
    resource: type[BaseModel]
    create: type[BaseModel]
    update: type[BaseModel] | None = None  # None: cannot be patched
    removable: bool = True
    events: tuple[str, ...] = ("Create", "AttributeValueChange", "StateChange", "Delete")  # after the kind's name
    machine: Machine | None = None
    complete: Callable[[Json], Json] = lambda body: body
    """What was posted -> with what the server adds."""
    touched: str | None = None
    """The attribute that says when it last changed."""
    kept_as: str = ""
    """In the store, where another API has a kind of this name."""
    created: Callable[[Runtime, Session, Json], None] = lambda runtime, session, body: None
    """It was added. May change it further (`save`)."""
    changing: Callable[[Runtime, Json, Json, float], AbstractContextManager[Json]] | None = None
    """Around the transaction that keeps a patch -> what it keeps. Has the effect before, may write to the store, and
    undoes it on an exception. One patch of a resource at a time. The last argument is `wait_s` of `change`.
    """
    removing: Callable[[Runtime, Session, Json], None] = lambda runtime, session, old: None
    """It will be gone."""

    def event(self, which: str) -> str:
        return f"{self.name[0].upper()}{self.name[1:]}{which}Event"

    def teller(self, attribute: str) -> str:
        """Which of its events tells that the attribute changed; "" where none does."""
        own = TOLD_BY.get(attribute)
        return own if own in self.events else next((each for each in CHANGES if each in self.events), "")

    def of(self, session: Session) -> Collection:
        return Collection(session, self.kept_as or self.name)


@dataclass(frozen=True)
class Api:
    name: str  # of its hubs and events
    base: str  # as the specification has it
    kinds: tuple[Kind, ...]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Other bases, and the kinds there; none: all."""

    def href(self, kind: Kind, id: str) -> str:
        """An absolute path: under which names this server is reached is not for it to know."""
        return f"{self.base}/{kind.name}/{id}"


def now() -> str:
    """As the specifications write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def writing(runtime: Runtime) -> Iterator[Session]:
    """The one transaction of a change. Raises StoreError."""
    with runtime.store.write() as session:
        yield session
    runtime.fulfilment.wake()


def create(runtime: Runtime, api: Api, kind: Kind, body: Json) -> Json:
    """`body` is valid. Raises InputError, Conflict, StoreError, and what the hook raises."""
    with writing(runtime) as session:
        made = add(session, api, kind, body)
        kind.created(runtime, session, made)
        return kind.of(session).get(made["id"]) or made


def add(session: Session, api: Api, kind: Kind, body: Json, id: str | None = None) -> Json:
    """Keep a new one and tell of it. Raises InputError."""
    id = id or str(uuid.uuid4())
    named = {"id": id, "href": api.href(kind, id)}
    made = named | kind.complete(body) | named
    if kind.touched:
        made[kind.touched] = now()
    if kind.machine:
        kind.machine.check_initial(made[kind.machine.name])
    kind.of(session).add(id, made)
    tell(session, api, kind, "Create", made)
    return made


def change(runtime: Runtime, api: Api, kind: Kind, id: str, patch: Json, wait_s: float = -1) -> Json:
    """A merge patch (RFC 7396). Raises NotFound, InputError, Conflict, StoreError, and what the hook raises.

    `wait_s`: for how long at most it waits for another patch, or change of the same, to have its effect; -1: as long.
    """
    _check_patchable(kind, patch)
    if kind.changing is None:
        with writing(runtime) as session:
            old, new = _patched(session, kind, id, patch)
            if new != old:
                save(session, api, kind, old, new)
        return new
    with ExitStack() as held:
        try:
            held.enter_context(_PATCHING.hold(f"{kind.name}/{id}", wait_s))
        except TimeoutError:
            raise Conflict(f"{kind.name} {id!r} is being changed") from None
        with runtime.store.read() as session:
            old, new = _patched(session, kind, id, patch)
        if new == old:
            return old
        if kind.machine:
            kind.machine.check_move(old[kind.machine.name], new.get(kind.machine.name, ""))
        with kind.changing(runtime, old, new, wait_s) as kept, writing(runtime) as session:
            if kind.of(session).get(id, lock=True) != old:
                raise Conflict(f"{kind.name} {id!r} was changed meanwhile: try again")
            save(session, api, kind, old, kept)
        return kept


def _patched(session: Session, kind: Kind, id: str, patch: Json) -> tuple[Json, Json]:
    """-> what there is, what shall be; equal where the patch changes nothing."""
    old = kind.of(session).get(id, lock=True)
    if old is None:
        raise NotFound(kind.name, id)
    new = merge_patch(old, patch)
    if new != old:
        check(kind, new)
    return old, new


def save(session: Session, api: Api, kind: Kind, old: Json, new: Json) -> None:
    """Keep the change and tell of it; `new` gets its time. Raises InputError, Conflict."""
    if kind.machine:
        kind.machine.check_move(old[kind.machine.name], new.get(kind.machine.name, ""))
    changed = [name for name in old | new if old.get(name) != new.get(name)]
    if kind.touched:
        new[kind.touched] = now()
    kind.of(session).put(new["id"], new)
    told = {kind.teller(name) for name in changed}
    for event in kind.events:
        if event in told:
            tell(session, api, kind, event, new)


def remove(runtime: Runtime, api: Api, kind: Kind, id: str) -> None:
    """Raises NotFound, Conflict, StoreError, and what the hook raises."""
    with writing(runtime) as session:
        old = kind.of(session).get(id, lock=True)
        if old is None:
            raise NotFound(kind.name, id)
        kind.removing(runtime, session, old)
        kind.of(session).remove(id)
        tell(session, api, kind, "Delete", old)


def tell(session: Session, api: Api, kind: Kind, which: str, body: Json) -> None:
    """Publish one of the kind's events; one that the specification does not have is none."""
    if which in kind.events:
        publish(session, api.name, kind.event(which), body["id"], {kind.name: body})


def find(runtime: Runtime, kind: Kind, id: str) -> Json:
    """Raises NotFound, StoreError."""
    with runtime.store.read() as session:
        found = kind.of(session).get(id)
    if found is None:
        raise NotFound(kind.name, id)
    return found


def _check_patchable(kind: Kind, patch: Json) -> None:
    assert kind.update is not None
    changeable = attributes(kind.update)
    for name, value in patch.items():
        if name not in changeable:
            known = name in attributes(kind.resource)
            raise InputError(name, value, "not to be changed" if known else f"as attributes {[*changeable]}")


def check(kind: Kind, body: Any, source: str | None = None) -> None:
    """Whether it is a whole resource. Raises InputError."""
    try:
        kind.resource.model_validate(body)
    except ValidationError as error:
        raise input_error(error, source) from None
    for name, attribute in attributes(kind.create).items():
        if attribute.is_required() and name not in body:
            raise InputError(name, None, "this attribute is required", source=source)


@cache
def attributes(model: type[BaseModel]) -> Mapping[str, Any]:
    """By the names in JSON."""
    return {each.alias or name: each for name, each in model.model_fields.items()}


def knows(model: type[BaseModel]) -> Callable[[str], bool]:
    """Whether a resource can have something at a dotted path."""
    return lambda path: _has(model, path.split("."))


def _has(annotation: Any, path: list[str]) -> bool:
    if annotation is Any or not path:
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        found = attributes(annotation).get(path[0])
        return found is not None and _has(found.annotation, path[1:])
    return any(_has(each, path) for each in get_args(annotation) if isinstance(each, type) or each is Any)
