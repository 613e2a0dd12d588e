"""What an answer of the API server that is no success means: its status (meta/v1, Status) as an error of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from hostk8s_agent.cluster.errors import (
    ClusterAnswerError,
    ClusterBusyError,
    ClusterFailedError,
    ClusterForbiddenError,
    ClusterUnauthenticatedError,
    ObjectChangedError,
    ObjectConflictError,
    ObjectInvalidError,
    ObjectMissingError,
    ResourceExpiredError,
)

if TYPE_CHECKING:
    from hostk8s_agent.errors import ClusterError

_MESSAGE_LIMIT = 500
# A server that asks for more than this is asked again nevertheless.
_RETRY_AFTER_LIMIT_SECONDS = 300.0
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

_HINT_WAIT = "nothing to do: the agent tries again by itself"
_HINT_CHANGED = "nothing to do: the agent looks at the object again and decides anew"


def error_from_status(
    code: int, status: Mapping[str, Any], subject: str, headers: Mapping[str, str] | None = None
) -> ClusterError:
    """Return what an HTTP status and its `Status` object (empty where the answer had none) mean.

    `subject` says in words what was asked, for instance `apply PersistentVolume/x`.
    """
    message = clean_text(str(status.get("message") or f"HTTP status {code}"))
    details = status.get("details")
    details = details if isinstance(details, Mapping) else {}
    raw_causes = details.get("causes")
    causes = [one for one in raw_causes if isinstance(one, Mapping)] if isinstance(raw_causes, list) else []
    if code == HTTPStatus.GONE or any(one.get("reason") == "ResourceVersionTooLarge" for one in causes):
        return ResourceExpiredError(f"{subject}: {message}", hint=_HINT_WAIT)
    if code in _REFUSALS:
        refusal, words, hint = _REFUSALS[code]
        return refusal(f"the API server refuses to {subject}: {words}: {message}", hint=hint)
    if code in (400, 404, 409, 412, 422):
        return _object_error(code, message, causes, subject)
    if code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        wait = _retry_after_seconds(headers or {}, details)
        if code == HTTPStatus.TOO_MANY_REQUESTS:
            busy = f"the API server is too busy to {subject}: {message}"
            return ClusterBusyError(busy, hint=_HINT_WAIT, retry_after_seconds=wait)
        failed = f"the API server failed to {subject}: {code} {message}"
        return ClusterFailedError(failed, hint=_HINT_WAIT, retry_after_seconds=wait)
    return ClusterAnswerError(
        f"{subject}: an answer that makes no sense, HTTP status {code}",
        hint="check that the kubeconfig names an API server and nothing in between; the agent goes on trying",
    )


def clean_text(text: str) -> str:
    """Return a foreign text as one line of bounded length, so that it can stand in a log and on a terminal."""
    line = _CONTROL_CHARACTERS.sub(" ", text).strip()
    return line if len(line) <= _MESSAGE_LIMIT else f"{line[:_MESSAGE_LIMIT]}…"


_REFUSALS: dict[int, tuple[type[ClusterUnauthenticatedError | ClusterForbiddenError], str, str]] = {
    401: (
        ClusterUnauthenticatedError,
        "it does not know the kubeconfig's user",
        "write the kubeconfig again (make start, or kind export kubeconfig); the agent reads it as soon as it changes",
    ),
    403: (
        ClusterForbiddenError,
        "the kubeconfig's user may not",
        (
            "let the user get namespaces, list pods, list and watch persistentvolumeclaims, and get, list, watch, "
            "create, patch and delete persistentvolumes and storageclasses, or use another kubeconfig"
        ),
    ),
}


def _object_error(code: int, message: str, causes: list[Mapping[str, Any]], subject: str) -> ClusterError:
    conflicts = [one for one in causes if one.get("reason") == "FieldManagerConflict"]
    if conflicts:
        fields = ", ".join(sorted({clean_text(str(one.get("field", "?"))).lstrip(".") for one in conflicts}))
        return ObjectConflictError(
            f"{subject}: {message}",
            hint=f"let the other field manager give up {fields}, or give the contract the value that it set",
        )
    if code == HTTPStatus.NOT_FOUND:
        return ObjectMissingError(f"{subject}: {message}", hint=_HINT_CHANGED)
    # An object that was deleted and made again has another uid, and a uid is immutable (422).
    if code in (409, 412) or any(one.get("field") == "metadata.uid" for one in causes):
        return ObjectChangedError(
            f"{subject}: someone made, changed or replaced it meanwhile, so it was not written", hint=_HINT_CHANGED
        )
    return ObjectInvalidError(
        f"the API server does not accept to {subject}: {message}",
        hint="mend the contract so that the object is valid",
    )


def _retry_after_seconds(headers: Mapping[str, str], details: Mapping[str, Any]) -> float | None:
    """Return the wait that the server asked for, in seconds: the header (RFC 9110, digits), else `details`."""
    for value in (headers.get("Retry-After"), details.get("retryAfterSeconds")):
        text = str(value)
        if text.isascii() and text.isdigit():
            return min(float(text), _RETRY_AFTER_LIMIT_SECONDS)
    return None
