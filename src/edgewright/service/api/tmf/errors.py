"""Refusals under /tmf-api/ in the TM Forum's form: `{"code", "reason", "message", "status"}` (TMF630, part 1)."""

from __future__ import annotations

from http import HTTPStatus

from pydantic import BaseModel

ROOT = "/tmf-api/"
CODES = {400: "invalidValue"}  # where the name of the status says too little


class Error(BaseModel):
    """`code` is for programs, `reason` for people in general, `message` names the attribute or the resource."""

    code: str
    reason: str
    message: str
    status: str


def error_body(status: int, message: str) -> dict[str, str]:
    """As `Error` has it."""
    reason = HTTPStatus(status).phrase
    first, *more = reason.replace("-", " ").split()
    code = CODES.get(status, first.lower() + "".join(more))
    return {"code": code, "reason": reason, "message": message, "status": str(status)}
