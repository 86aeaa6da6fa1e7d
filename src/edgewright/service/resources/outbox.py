"""Events, written in the transaction of the change that they tell of: neither goes without the other."""

from __future__ import annotations

import re
import time
import uuid
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgewright.core.errors import InputError
from edgewright.service.resources.query import Query, matches, parse_query
from edgewright.service.store.tables import DeliveryRow, HubRow, OutboxRow

Json = dict[str, Any]
LONGEST = 2000  # characters of a callback, and of a query
MOST_CONDITIONS = 50


def publish(session: Session, api: str, type_: str, subject: str, event: Json) -> None:
    """Write an event of `type_` (`ServiceOrderCreateEvent`) about the resource `subject` for every hub of `api` whose
    query it meets. `event` is {resource's name: body}; the whole is as TMF630 part 1, "Event notification", has it.

    What one transaction reads of another's changes has a lower number, so that hubs are told causes before effects.
    """
    now = time.time()
    told: Json = {
        "eventId": str(uuid.uuid4()),
        "eventTime": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "eventType": type_,
        "correlationId": subject,
        "domain": api,
        "title": type_,
        "description": "",
        "priority": "normal",
    }
    told = told | {"timeOcurred": told["eventTime"], "event": event}  # spelled so by the specifications
    row = OutboxRow(id=told["eventId"], api=api, type=type_, subject=subject, t=now, body=told)
    session.add(row)
    session.flush()  # it has its number then
    # Locked, as one that is deleted meanwhile would make this transaction fail.
    hubs = select(HubRow).where(HubRow.api == api).with_for_update(read=True, key_share=True)
    for hub in session.scalars(hubs):
        if matches(event | told, interest(hub.query).conditions):
            more = {"state": "waiting", "attempts": 0, "since": now, "due": now, "error": ""}
            session.add(DeliveryRow(hub=hub.id, event=row.seq, **more))
    session.flush()


def check_hub(callback: str, query: str) -> None:
    """Raises InputError for a callback that cannot be called, or a query that cannot be understood.

    Callbacks are called from this host, and any address is allowed that it reaches: whoever holds a key can have it
    called. Where that is too much, an outgoing firewall is the place to say so.
    """
    allowed = f"an absolute http or https address without user, query and fragment, {LONGEST} characters at most"
    try:
        parts = urlsplit(callback)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0  # .port raises ValueError
        fine = known and "@" not in parts.netloc and re.fullmatch(r"[^\x00-\x20\x7f-\U0010ffff?#\\]+", callback)
    except ValueError:
        fine = False
    if not fine or len(callback) > LONGEST:
        raise InputError("callback", callback, allowed)
    interest(query)


@lru_cache(maxsize=256)
def interest(query: str) -> Query:
    """What a hub wants to be told: `eventType=A,B`, paths into the event (`event.serviceOrder.state=completed`, or
    from its resource on: `serviceOrder.state=completed`), `fields=` of the resource (what is around it stays whole).

    Raises InputError.
    """
    if len(query) > LONGEST:
        raise InputError("query", query, f"{LONGEST} characters at most")
    try:
        parameters = parse_qsl(query.lstrip("?"), True, True, max_num_fields=MOST_CONDITIONS) if query else []
    except ValueError as error:
        raise InputError("query", query, f"name=value, with & between them ({error})") from None
    if lost := {"sort", "offset", "limit"} & {name for name, _ in parameters}:
        raise InputError("query", query, f"conditions and fields: events have no {', '.join(sorted(lost))}")
    try:
        return parse_query(parameters, lambda _: True)
    except InputError as error:
        raise InputError("query", query, f"{error.field}: {error.allowed}") from None
