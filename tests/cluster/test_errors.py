"""The maps from what the HTTP client raises, and from what the API server answers, to errors of ours."""

from __future__ import annotations

import json
import ssl
from typing import Any

import pytest
import urllib3.exceptions as http

from hostk8s_agent.cluster import errors
from hostk8s_agent.cluster.statuses import clean_text, error_from_status
from hostk8s_agent.cluster.translation import translate_errors
from hostk8s_agent.errors import ClusterError

CONFLICT = {
    "message": 'Apply failed with 1 conflict: conflict with "them": .spec.capacity.storage',
    "reason": "Conflict",
    "details": {
        "causes": [
            {"reason": "FieldManagerConflict", "message": 'conflict with "them"', "field": ".spec.capacity.storage"}
        ]
    },
}
REPLACED = {"message": "uid", "details": {"causes": [{"reason": "FieldValueInvalid", "field": "metadata.uid"}]}}
TOO_LARGE = {"message": "Timeout", "details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}}


@pytest.mark.parametrize(
    ("code", "status", "expected", "is_retryable"),
    [
        (400, {}, errors.ObjectInvalidError, False),
        (401, {}, errors.ClusterUnauthenticatedError, True),
        (403, {}, errors.ClusterForbiddenError, True),
        (404, {}, errors.ObjectMissingError, True),
        (409, {}, errors.ObjectChangedError, True),
        (409, CONFLICT, errors.ObjectConflictError, False),
        (410, {}, errors.ResourceExpiredError, True),
        (412, {}, errors.ObjectChangedError, True),
        (422, {}, errors.ObjectInvalidError, False),
        (422, REPLACED, errors.ObjectChangedError, True),
        (429, {}, errors.ClusterBusyError, True),
        (500, {}, errors.ClusterFailedError, True),
        (503, {}, errors.ClusterFailedError, True),
        (504, TOO_LARGE, errors.ResourceExpiredError, True),
        (302, {}, errors.ClusterAnswerError, True),
        (0, {"details": 7, "message": None}, errors.ClusterAnswerError, True),
        (500, {"details": {"causes": "text"}}, errors.ClusterFailedError, True),
    ],
)
def test_each_status_is_an_error_of_ours(
    code: int,
    status: dict[str, Any],
    expected: type[ClusterError],
    is_retryable: bool,  # noqa: FBT001 - a case
) -> None:
    """The map of statuses; each error has words and a hint."""
    error = error_from_status(code, status, "apply PersistentVolume/x")

    assert (expected, is_retryable) == (type(error), error.retryable)
    assert error.message
    assert error.hint


def test_a_conflict_names_the_manager_and_the_field() -> None:
    """A person must know whom to ask, and about what."""
    error = error_from_status(409, CONFLICT, "apply PersistentVolume/x")

    assert '"them"' in error.message
    assert "spec.capacity.storage" in error.hint


@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ({"Retry-After": "7"}, {}, 7.0),
        ({"Retry-After": "99999999"}, {}, 300.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}, None),
        ({"Retry-After": "-1"}, {"details": {"retryAfterSeconds": 3}}, 3.0),
        ({}, {}, None),
    ],
)
def test_the_servers_wish_for_patience_is_heard(
    headers: dict[str, str], status: dict[str, Any], expected: float | None
) -> None:
    """Retry-After holds within reason, else the status' own figure, else none."""
    error = error_from_status(429, status, "list", headers)

    assert isinstance(error, errors.ClusterWaitError)
    assert expected == error.retry_after_seconds


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (http.NewConnectionError(None, "refused"), errors.ClusterUnreachableError),  # type: ignore[arg-type]
        (http.NameResolutionError("host", None, OSError(-2, "unknown")), errors.ClusterUnreachableError),  # type: ignore[arg-type]
        (http.ProtocolError("cut", ConnectionResetError(104, "reset")), errors.ClusterUnreachableError),
        (http.IncompleteRead(1, 2), errors.ClusterUnreachableError),
        (http.ConnectTimeoutError(), errors.ClusterTimeoutError),
        (http.ReadTimeoutError(None, None, None), errors.ClusterTimeoutError),  # type: ignore[arg-type]
        (TimeoutError(), errors.ClusterTimeoutError),
        (BrokenPipeError(32, "broken"), errors.ClusterUnreachableError),
        (http.SSLError(ssl.SSLCertVerificationError("bad")), errors.ClusterTlsError),
        (http.SSLError(ssl.SSLEOFError("eof")), errors.ClusterUnreachableError),
        (http.ProxyError("proxy", OSError(111, "refused")), errors.ClusterUnreachableError),
        (json.JSONDecodeError("no", "doc", 0), errors.ClusterAnswerError),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "no"), errors.ClusterAnswerError),
    ],
)
def test_each_error_of_the_http_client_is_an_error_of_ours(raised: Exception, expected: type[ClusterError]) -> None:
    """The map of exceptions; each keeps its origin, and names the server."""
    with pytest.raises(ClusterError) as caught, translate_errors("https://server:1"):
        raise raised

    assert expected is type(caught.value)
    assert raised is caught.value.__cause__
    assert "https://server:1" in caught.value.message
    assert caught.value.retryable


def test_foreign_text_is_one_line_of_bounded_length() -> None:
    """What a server says cannot forge log lines or flood a terminal."""
    assert clean_text("a\r\nb\x1b[2J\u2028") == "a b [2J"
    assert len(clean_text("x" * 10_000)) == 501
