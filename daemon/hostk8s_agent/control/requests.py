"""What clients send, as values: parsed once, at the edge."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hostk8s_agent.control.errors import RequestInvalidError, UnknownStackError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_WAIT_SECONDS = 120.0
MAX_WAIT_SECONDS = 3600.0
MAX_STACK_NAME_CHARACTERS = 4096
MAX_EVENT_ID_DIGITS = 18

_FIELDS = frozenset({"stacks", "wait", "timeoutSeconds"})


@dataclass(frozen=True, slots=True)
class ReconcileRequest:
    """Which stacks to reconcile (None: all), and how long to wait for it (None: not at all)."""

    stacks: tuple[str, ...] | None
    wait_seconds: float | None


def parse_reconcile_request(content_type: str, body: bytes) -> ReconcileRequest:
    """Given a POST's content type and body, return what it asks for; an empty body asks for all and waits for none.

    For instance `{"stacks": ["foundation/airflow"], "wait": true, "timeoutSeconds": 30}`. Raise
    `RequestInvalidError` if it is anything else, `UnknownStackError` for what can be no stack's name.
    """
    fields = parse_object(content_type, body) if body else {}
    if unknown := sorted(set(fields) - _FIELDS):
        raise _invalid(f"the field {unknown[0]!r} is not known")
    stacks, wait = fields.get("stacks"), fields.get("wait", False)
    seconds = fields.get("timeoutSeconds", DEFAULT_WAIT_SECONDS)
    if stacks is not None and not (isinstance(stacks, list) and all(isinstance(name, str) for name in stacks)):
        raise _invalid("stacks must be null or a list of names")
    if not isinstance(wait, bool):
        raise _invalid("wait must be true or false")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= MAX_WAIT_SECONDS:
        raise _invalid(f"timeoutSeconds must be a number from 0 to {MAX_WAIT_SECONDS:.0f}")
    names = None if stacks is None else tuple(dict.fromkeys(require_stack_name(name) for name in stacks))
    return ReconcileRequest(names, float(seconds) if wait else None)


def parse_path_request(content_type: str, body: bytes) -> str:
    """Given a POST's content type and body, return the path that it names: `{"path": "/mnt/pv/..."}`."""
    return _require_path(parse_object(content_type, body))


def parse_purge_request(content_type: str, body: bytes) -> tuple[str, bool]:
    """Given a POST's content type and body, return the path, and whether no snapshot is to be taken before.

    For instance `{"path": "/mnt/pv/...", "withoutSnapshot": true}`.
    """
    fields = parse_object(content_type, body)
    is_bare = fields.pop("withoutSnapshot", False)
    if not isinstance(is_bare, bool):
        raise RequestInvalidError("withoutSnapshot must be true or false", hint="leave it out to take a snapshot")
    return _require_path(fields), is_bare


def _require_path(fields: Mapping[str, Any]) -> str:
    path = fields.get("path")
    if set(fields) != {"path"} or not isinstance(path, str) or not path or len(path) > MAX_STACK_NAME_CHARACTERS:
        raise RequestInvalidError("the body must name a path", hint='send {"path": "/mnt/pv/..."}')
    return path


def require_stack_name(name: str) -> str:
    """Return `name`, or raise `UnknownStackError` if no stack can be called that: it would leave the stacks folder."""
    parts = name.split("/")
    if len(name) > MAX_STACK_NAME_CHARACTERS or "\0" in name or not {"", ".", ".."}.isdisjoint(parts):
        raise UnknownStackError(name[:80])
    return name


def parse_event_id(text: str | None) -> int | None:
    """Given `Last-Event-ID`, return the number, None where there is none. Raise `RequestInvalidError` for others."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > MAX_EVENT_ID_DIGITS:
        raise _invalid("Last-Event-ID must be the number of an event")
    return int(text)


def parse_object(content_type: str, body: bytes) -> dict[str, Any]:
    """Given a POST's content type and body, return the JSON object in it. Raise `RequestInvalidError` for others."""
    # A page can post text/plain anywhere without asking; application/json it cannot (Fetch, CORS-safelisted).
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise _refuse_body("the body's content type must be application/json")
    try:
        fields = json.loads(body, parse_constant=_refuse_constant)
        # JSON can name half a character (a lone surrogate), and what is named so can be written nowhere.
        json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise _refuse_body("the body is not JSON, or not all of it is text") from error
    if not isinstance(fields, dict):
        raise _refuse_body("the body must be a JSON object")
    return fields


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _refuse_body(message: str) -> RequestInvalidError:
    return RequestInvalidError(message, hint="send a JSON object; docs/cli.md says for each resource which")


def _invalid(message: str) -> RequestInvalidError:
    return RequestInvalidError(
        message, hint='send {"stacks": [names] or null, "wait": true or false, "timeoutSeconds": number}'
    )
