"""Import and export of a catalogue as one JSON file (the ImportJob and ExportJob of TMF633 and TMF634).

A job is done when its POST answers. Its `url` is the name of a file, `file:NAME.json`: files are in the folder
`catalogues` under the data folder, and nowhere else. `path` may name one kind's collection, `query` conditions on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from sqlalchemy.orm import Session

from edgewright.core.documents import load_json, unique
from edgewright.core.errors import InputError
from edgewright.core.files import replacing
from edgewright.service.resources.collection import check_depth
from edgewright.service.resources.query import MAX_LIMIT, parse_query
from edgewright.service.tmf.kinds import Api, Kind, add, check, knows, now, save, tell

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime

Json = dict[str, Any]
FORMAT = "edgewright.catalogue/1"
FILE = re.compile(r"(?:file:(?:///|/)?)?([A-Za-z0-9][A-Za-z0-9_.-]{0,99}\.json)")
MAX_FILE_BYTES = 20_000_000
JSON = "application/json"


def job_kinds(api: Callable[[], Api], kinds: tuple[Kind, ...], models: Any, of: str) -> tuple[Kind, Kind]:
    """The two kinds of jobs on resources of `kinds`; `api` gives the API that they are in."""

    def kind(name: str, run: Callable[[Runtime, Session, Api, tuple[Kind, ...], Json], None]) -> Kind:
        def created(runtime: Runtime, session: Session, job: Json) -> None:
            try:
                with session.begin_nested():  # an import that fails leaves nothing
                    run(runtime, session, api(), _chosen(job, kinds), job)
                ended = {"status": "Succeeded"}
            except OSError as error:  # where the folder is, is nobody's business
                ended = {"status": "Failed", "errorLog": f"{job['url']}: {error.strerror}"}
            except (InputError, UnicodeDecodeError) as error:
                ended = {"status": "Failed", "errorLog": str(error)}
            save(session, api(), made, job, job | ended | {"completionDate": now()})

        resource, create = getattr(models, name), getattr(models, f"{name}Create")
        made = Kind(
            name[0].lower() + name[1:],
            resource,
            create,
            events=(),
            complete=_started,
            kept_as=f"{of}{name}",
            created=created,
        )
        return made

    return kind("ImportJob", _import), kind("ExportJob", _export)


def _started(body: Json) -> Json:
    """How it went is for the server to say."""
    given = {name: value for name, value in body.items() if name not in ("completionDate", "errorLog")}
    return given | {"creationDate": now(), "status": "Running", "contentType": body.get("contentType", JSON)}


def _chosen(job: Json, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
    if job["contentType"].partition(";")[0].strip().lower() != JSON:
        raise InputError("contentType", job["contentType"], JSON)
    path = job.get("path", "").rstrip("/")
    if not path:
        return kinds
    chosen = tuple(kind for kind in kinds if path.rpartition("/")[2] == kind.name)
    if not chosen:
        raise InputError("path", path, f"the path of a collection: {[kind.name for kind in kinds]}")
    return chosen


def _file(runtime: Runtime, job: Json) -> Path:
    found = FILE.fullmatch(unquote(job["url"]))
    if found is None:
        raise InputError("url", job["url"], "file:NAME.json, of letters, digits, _ . -: a file of this server")
    return runtime.settings.data_dir / "catalogues" / found[1]


def _export(runtime: Runtime, session: Session, api: Api, kinds: tuple[Kind, ...], job: Json) -> None:
    file = _file(runtime, job)
    content = {"format": FORMAT} | {kind.name: list(_all(session, kind, job.get("query", ""))) for kind in kinds}
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as new:
        new.write_text(json.dumps(content), encoding="utf-8")


def _all(session: Session, kind: Kind, conditions: str) -> Iterator[Json]:
    query = parse_query(parse_qsl(conditions, keep_blank_values=True), knows(kind.resource))
    query = replace(query, offset=0, limit=MAX_LIMIT)
    while True:
        found = kind.of(session).find(query)
        yield from found.bodies
        query = replace(query, offset=query.offset + MAX_LIMIT)
        if query.offset >= found.total:
            return


def _import(runtime: Runtime, session: Session, api: Api, kinds: tuple[Kind, ...], job: Json) -> None:
    """What has the id of a resource that is there replaces it; all or nothing."""
    content = _read(_file(runtime, job), {kind.name for kind in kinds} | {"format"})
    for kind in kinds:
        bodies = content.get(kind.name, [])
        ids = [_checked(kind, body, f"{kind.name}.{n}") for n, body in enumerate(bodies)]
        unique(ids, f"{kind.name}.{{}}.id")
        for id, body in zip(ids, bodies, strict=True):
            old = kind.of(session).get(id, lock=True)
            if old is None:
                add(session, api, kind, body, id)
            else:
                save(session, api, kind, old, kind.complete(body) | {"id": id, "href": old["href"]})
            tell(session, api, kind, "Batch", kind.of(session).get(id) or body)


def _read(file: Path, known: Iterable[str]) -> Json:
    if file.stat().st_size > MAX_FILE_BYTES:
        raise InputError("url", file.name, f"a file of at most {MAX_FILE_BYTES} bytes")
    content = load_json(file.read_text(encoding="utf-8"), source=file.name)
    check_depth(content)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError("format", "another one", FORMAT, source=file.name)
    for name, bodies in content.items():
        if name not in known:
            raise InputError(name, "this key", f"{sorted(known)}", source=file.name)
        if name != "format" and not isinstance(bodies, list):
            raise InputError(name, bodies, "an array", source=file.name)
    return content


def _checked(kind: Kind, body: Any, where: str) -> str:
    """-> its id."""
    check(kind, body, where)
    if not re.fullmatch(r"[A-Za-z0-9_.~-]{1,64}", body.get("id", "")):
        raise InputError(f"{where}.id", body.get("id"), "1 .. 64 letters, digits, _ . ~ -")
    return str(body["id"])
