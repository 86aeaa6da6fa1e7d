"""Resources of one kind in the store, with their scalars beside them: a search reads no bodies but those of its page.

All scalars of a body are searchable: one with more than MAX_SCALARS of them, a path of more than MAX_PATH characters or
more than MAX_LEVELS levels is refused.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, cast, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from edgewright.core.errors import InputError
from edgewright.service.resources.query import (
    ORDERINGS,
    Condition,
    Json,
    Query,
    Scalar,
    check_text,
    comparable,
    compiled,
    scalars,
    select_fields,
)
from edgewright.service.store.tables import AttributeRow, ResourceRow, Table

MAX_SCALARS, MAX_PATH, MAX_LEVELS = 2000, 200, 64
HEAD = 100  # characters of a text in the index
FEW = 1000  # resources that a statement can name one by one
REGEX_S = 2.0  # for a search
RESOURCES, ATTRIBUTES = (Table.metadata.tables[name] for name in ("resources", "attributes"))


@dataclass(frozen=True)
class Found:
    bodies: list[Json]  # of the page, with the fields asked for
    total: int  # without paging


@dataclass(frozen=True)
class Collection:
    """Within the caller's transaction. A body has its `id`."""

    session: Session
    kind: str

    def add(self, id: str, body: Json) -> None:
        """Raises InputError for a body that cannot be searched, IntegrityError for an id in use."""
        rows = _rows(body)
        now = time.time()
        made = insert(RESOURCES).values(kind=self.kind, id=id, body=body, created=now, updated=now)
        self._write(self.session.scalars(made.returning(RESOURCES.c.seq)).one(), dict(enumerate(rows)))

    def get(self, id: str, *, lock: bool = False) -> Json | None:
        """`lock`: nobody else changes it until the transaction ends."""
        row = self._row(id, lock)
        return row and row[1]

    def put(self, id: str, body: Json) -> None:
        """What did not change is not written. Raises InputError for a body that cannot be searched, LookupError."""
        rows = _rows(body)
        row = self._row(id, lock=True)
        if row is None:
            raise LookupError(f"no {self.kind} {id!r}")
        seq, old = row
        if json.dumps(old) == json.dumps(body):
            return
        self.session.execute(update(RESOURCES).where(RESOURCES.c.seq == seq).values(body=body, updated=time.time()))
        before, after = dict(enumerate(scalars(old))), dict(enumerate(rows))
        changed = [n for n in before.keys() | after.keys() if before.get(n) != after.get(n)]
        if changed:
            stale = delete(ATTRIBUTES).where(ATTRIBUTES.c.resource == seq, ATTRIBUTES.c.n.in_(changed))
            self.session.execute(stale)
            self._write(seq, {n: after[n] for n in changed if n in after})

    def remove(self, id: str) -> bool:
        """Whether there was one."""
        gone = delete(RESOURCES).where(RESOURCES.c.kind == self.kind, RESOURCES.c.id == id)
        return self.session.scalar(gone.returning(RESOURCES.c.seq)) is not None

    def ids(self, conditions: Sequence[Condition], before: float, limit: int) -> list[str]:
        """Of the first ones that meet the conditions and were not changed since then (Unix time, s)."""
        where = [ResourceRow.kind == self.kind, ResourceRow.updated < before, *map(self._holds, conditions)]
        return list(self.session.scalars(select(ResourceRow.id).where(*where).order_by(ResourceRow.seq).limit(limit)))

    def find(self, query: Query) -> Found:
        """A page in the order of `sort`, then of creation; resources without a value to sort by come last.

        What has several is sorted by its smallest, numbers before texts. Raises InputError for a bad expression.
        """
        where = [ResourceRow.kind == self.kind, *(self._holds(condition) for condition in query.conditions)]
        few: list[int] | None = None
        if query.conditions:
            counted = select(ResourceRow.seq, func.count().over().label("total")).where(*where).limit(FEW)
            first = self.session.execute(counted).all()
            total = first[0].total if first else 0
            if total <= FEW:
                few = [row.seq for row in first]
        else:
            total = self.session.scalar(select(func.count()).select_from(ResourceRow).where(*where)) or 0
        if query.limit == 0 or query.offset >= total:
            return Found([], total)
        page: Select[Any] = select(ResourceRow.seq).where(*(where if few is None else [ResourceRow.seq.in_(few)]))
        for path, descending in query.sort:
            page = _sorted(page, path, descending, few)
        seqs = self.session.scalars(page.order_by(ResourceRow.seq).offset(query.offset).limit(query.limit)).all()
        of_page = select(ResourceRow.seq, ResourceRow.body).where(ResourceRow.seq.in_(seqs))
        bodies = {row.seq: row.body for row in self.session.execute(of_page)}
        return Found([select_fields(bodies[seq], query.fields) for seq in seqs if seq in bodies], total)

    def _row(self, id: str, lock: bool) -> tuple[int, Json] | None:
        wanted = select(ResourceRow.seq, ResourceRow.body).where(ResourceRow.kind == self.kind, ResourceRow.id == id)
        row = self.session.execute(wanted.with_for_update() if lock else wanted).first()
        return row and (row.seq, row.body)

    def _write(self, seq: int, rows: dict[int, Scalar]) -> None:
        if rows:
            self.session.execute(
                insert(ATTRIBUTES),
                [
                    {"resource": seq, "n": n, "path": s.path, "text": s.text, "head": s.text[:HEAD], "number": s.number}
                    for n, s in rows.items()
                ],
            )

    def _holds(self, condition: Condition) -> ColumnElement[bool]:
        """As `query.matches` has it."""
        at = select(AttributeRow.resource).where(AttributeRow.path == condition.path)
        if condition.operator == "regex":
            return ResourceRow.seq.in_(at.where(AttributeRow.text.in_(self._matching(condition))))
        values = [comparable(value) for value in condition.values]
        if condition.operator in ("eq", "ne"):
            short = [text for text, _ in values if len(text) < HEAD]  # the index has them whole
            long = [text for text, _ in values if len(text) >= HEAD]
            numbers = [number for _, number in values if number is not None]
            equal: list[ColumnElement[bool]] = [AttributeRow.head.in_(short)] if short else []
            if long:
                equal.append(and_(AttributeRow.head.in_([text[:HEAD] for text in long]), AttributeRow.text.in_(long)))
            if numbers:
                equal.append(AttributeRow.number.in_(numbers))
            found = at.where(or_(*equal))
            return ResourceRow.seq.in_(found) if condition.operator == "eq" else ResourceRow.seq.not_in(found)
        holds = ORDERINGS[condition.operator]
        as_text = [holds(AttributeRow.text, text) for text, number in values if number is None]
        as_either = [
            or_(holds(AttributeRow.number, number), and_(AttributeRow.number.is_(None), holds(AttributeRow.text, text)))
            for text, number in values
            if number is not None
        ]
        return ResourceRow.seq.in_(at.where(or_(*as_text, *as_either)))

    def _matching(self, condition: Condition) -> Select[Any]:
        """The texts at the path that the regular expression matches: found here, so that all databases agree."""
        patterns = [compiled(condition.path, value) for value in condition.values]
        texts = self.session.scalars(
            select(AttributeRow.text)
            .join(ResourceRow, ResourceRow.seq == AttributeRow.resource)
            .where(AttributeRow.path == condition.path, ResourceRow.kind == self.kind)
            .distinct()
        )
        found, until = [], time.monotonic() + REGEX_S
        for text in texts:
            if any(pattern.search(text) for pattern in patterns):
                found.append(text)
            if time.monotonic() > until:
                raise InputError(
                    f"{condition.path}.regex", condition.values[0], f"one that takes less than {REGEX_S:g} s"
                )
        # One parameter, as the number of parameters is bounded.
        if self.session.get_bind().dialect.name == "sqlite":
            return select(func.json_each(json.dumps(found)).table_valued("value").c.value)
        return select(func.jsonb_array_elements_text(cast(found, JSONB)).column_valued())


def check_depth(body: Any) -> None:
    """Raises InputError; what recurses over bodies need not care."""
    level, depth = [body], 0
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        if depth > MAX_LEVELS:
            raise InputError("body", "more levels", f"at most {MAX_LEVELS} levels of objects and arrays")
        level = [each for part in level for each in (part.values() if isinstance(part, dict) else part)]


def _rows(body: Json) -> list[Scalar]:
    rows = list(itertools.islice(scalars(body, MAX_LEVELS), MAX_SCALARS + 1))
    if len(rows) > MAX_SCALARS:
        raise InputError("body", "more values", f"at most {MAX_SCALARS} values")
    for path, text, _ in rows:
        if len(path) > MAX_PATH:
            raise InputError("body", path, f"paths of at most {MAX_PATH} characters")
        check_text("body", path)
        check_text(path, text)
    return rows


def _sorted(page: Select[Any], path: str, descending: bool, few: Sequence[int] | None) -> Select[Any]:
    if few is None:
        these = AttributeRow.path == path
    else:  # SQLite would read all of the path where it may use that index
        these = and_(AttributeRow.resource.in_(few), AttributeRow.path.concat("") == path)
    least = (
        select(
            AttributeRow.resource,
            func.min(AttributeRow.number).label("number"),
            func.min(case((AttributeRow.number.is_(None), AttributeRow.text))).label("text"),
        )
        .where(these)
        .group_by(AttributeRow.resource)
        .subquery()
    )
    number, text = least.c.number, case((least.c.number.is_(None), least.c.text))
    order = [number.is_(None), number, text]
    return page.outerjoin(least, least.c.resource == ResourceRow.seq).order_by(
        least.c.resource.is_(None), *(each.desc() if descending else each for each in order)
    )
