"""The map from other libraries' errors to ours."""

from __future__ import annotations

import errno

import docker.errors
import pytest
import requests
import urllib3.exceptions

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.volume import errors
from hostk8s_agent.volume.translation import translate_answer, translated

WORDS = {
    "write /x: no space left on device": errors.DiskFullError,
    "mkdir: disk quota exceeded": errors.DiskFullError,
    "mkdir /x: Read-only file system": errors.ReadOnlyError,
    'cannot overwrite non-directory "/a" with directory "/b"': errors.PathObstructedError,
    "mkdir /a/b: not a directory": errors.PathObstructedError,
    "No such container: abc": errors.HelperGoneError,
    "Could not find the file /volume/a in container abc": errors.DirectoryGoneError,
    "get x: no such volume": errors.VolumeGoneError,
    "lchown /a: operation not permitted": errors.PermissionDeniedError,
    "open /a: permission denied": errors.PermissionDeniedError,
    "something else": errors.EngineFailedError,
    "": errors.EngineFailedError,
}

NUMBERS = {
    errno.ENOSPC: errors.DiskFullError,
    errno.EDQUOT: errors.DiskFullError,
    errno.EROFS: errors.ReadOnlyError,
    errno.EACCES: errors.PermissionDeniedError,
    errno.EPERM: errors.PermissionDeniedError,
    errno.ENOENT: errors.DirectoryGoneError,
    errno.ENOTDIR: errors.PathObstructedError,
    errno.EIO: errors.DirectoryUnreadableError,
    errno.ENAMETOOLONG: errors.DirectoryUnreadableError,
}

REFUSED = requests.exceptions.ConnectionError(
    urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
)
FORBIDDEN = requests.exceptions.ConnectionError(
    urllib3.exceptions.ProtocolError("Connection aborted.", PermissionError(errno.EACCES, "Permission denied"))
)


def raise_translated(error: Exception, *, is_stream: bool = False) -> VolumeError:
    """Raise within the block and return what comes out."""
    with pytest.raises(VolumeError) as caught, translated("try it", is_stream=is_stream):
        raise error
    return caught.value


@pytest.mark.parametrize("words", WORDS)
def test_the_engines_words_are_known(words: str) -> None:
    """The engine has no codes: its words decide, and stand in the message."""
    found = translate_answer("try it", 500, words)
    assert type(found) is WORDS[words]
    assert words in found.message
    assert found.hint


@pytest.mark.parametrize("number", NUMBERS)
def test_the_operating_systems_numbers_are_known(number: int) -> None:
    """Each errno(3) has its error, chained."""
    cause = OSError(number, "words of the system")
    found = raise_translated(cause)
    assert type(found) is NUMBERS[number]
    assert found.__cause__ is cause
    assert found.message == "could not try it: words of the system"


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (REFUSED, errors.EngineUnreachableError, "nobody listens"),
        (FORBIDDEN, errors.EngineUnreachableError, "may not talk to"),
        (requests.exceptions.ReadTimeout("x"), errors.EngineUnreachableError, "does not answer"),
        (requests.exceptions.ConnectionError("x"), errors.EngineUnreachableError, "the connection broke"),
        (urllib3.exceptions.ProtocolError("x"), errors.EngineUnreachableError, "the connection broke"),
        (docker.errors.DockerException("x"), errors.EngineUnreachableError, "the connection broke"),
        (requests.exceptions.JSONDecodeError("x", "", 0), errors.EngineUnreachableError, "the connection broke"),
    ],
)
def test_a_connection_that_fails_is_an_unreachable_engine(error: Exception, expected: type, words: str) -> None:
    """Whatever layer fails, it is retried, and a person reads why."""
    found = raise_translated(error)
    assert type(found) is expected
    assert words in found.message
    assert found.retryable


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.ReadTimeout("x"),
        requests.exceptions.ConnectionError("Read timed out."),
        urllib3.exceptions.ReadTimeoutError(urllib3.HTTPConnectionPool("x"), "/", "Read timed out."),
    ],
)
def test_a_stream_without_bytes_is_stalled(error: Exception) -> None:
    """A timeout within a stream is a stall, however it is wrapped."""
    assert type(raise_translated(error, is_stream=True)) is errors.StreamStalledError


def test_our_own_errors_pass() -> None:
    """What is translated already stays as it is."""
    own = errors.DiskFullError("full", hint="make room")
    assert raise_translated(own) is own


def test_every_error_has_a_code_of_its_own() -> None:
    """Codes are what scripts match on."""
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, VolumeError)]
    assert len({one.code for one in classes}) == len(classes)
