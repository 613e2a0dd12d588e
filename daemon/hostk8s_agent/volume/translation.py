"""The one place where errors of docker, requests, urllib3 and the operating system become ours."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

import docker.errors
import requests.exceptions
import urllib3.exceptions

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.volume.errors import (
    DirectoryGoneError,
    DirectoryUnreadableError,
    DiskFullError,
    EngineFailedError,
    EngineUnreachableError,
    HelperGoneError,
    PathObstructedError,
    PermissionDeniedError,
    ReadOnlyError,
    StreamStalledError,
    VolumeGoneError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_DISK_FULL_HINT = "make room where the engine keeps its volumes (`docker system df` shows what takes it)"
_READ_ONLY_HINT = "mount the file system that the volume lies on for writing"
_UNREACHABLE_HINT = "start Docker; the agent notices by itself"
_FAILED_HINT = "look into the engine's own log; the agent tries again by itself"

_ERROR_OF_ERRNO: dict[int, tuple[type[VolumeError], str]] = {
    errno.ENOSPC: (DiskFullError, _DISK_FULL_HINT),
    errno.EDQUOT: (DiskFullError, _DISK_FULL_HINT),
    errno.EMLINK: (DiskFullError, "the file system holds no more entries in that directory"),
    errno.EROFS: (ReadOnlyError, _READ_ONLY_HINT),
    errno.EACCES: (PermissionDeniedError, "run the agent as a user who may do this"),
    errno.EPERM: (PermissionDeniedError, "run the agent as a user who may do this"),
    errno.ENOENT: (DirectoryGoneError, "the agent looks again by itself"),
    errno.ENOTDIR: (PathObstructedError, "look at it and move it away"),
    errno.ELOOP: (PathObstructedError, "look at it and move it away"),
    errno.EEXIST: (PathObstructedError, "look at it and move it away"),
}

# The engine has no codes of its own: these words stand in its messages since 1.10 and in Podman's too.
_ERROR_OF_WORDS: tuple[tuple[str, type[VolumeError], str], ...] = (
    ("no space left on device", DiskFullError, _DISK_FULL_HINT),
    ("disk quota exceeded", DiskFullError, _DISK_FULL_HINT),
    ("read-only file system", ReadOnlyError, _READ_ONLY_HINT),
    ("cannot overwrite non-directory", PathObstructedError, "look at it and move it away"),
    ("not a directory", PathObstructedError, "look at it and move it away"),
    ("could not find the file", DirectoryGoneError, "the agent looks again by itself"),
    ("no such container", HelperGoneError, "the agent makes a new one by itself"),
    ("no such volume", VolumeGoneError, "the agent looks again by itself"),
    ("operation not permitted", PermissionDeniedError, "the engine itself may not do this: look into its log"),
    ("permission denied", PermissionDeniedError, "the engine itself may not do this: look into its log"),
)


@contextmanager
def translated(attempt: str, *, is_stream: bool = False) -> Iterator[None]:
    """Turn every library's error within the block into a `VolumeError`, chained.

    `attempt` says what was tried, as it stands after "could not" (`look at /mnt/pv/a`). `is_stream` says that
    a read timeout means a stalled stream. Our own errors pass unchanged.
    """
    try:
        yield
    except VolumeError:
        raise
    except docker.errors.APIError as error:
        raise translate_answer(attempt, error.status_code or 0, str(error.explanation or error)) from error
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise _translate_timeout(attempt, is_stream=is_stream) from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        # A timeout in the middle of a body arrives wrapped (requests.models.Response.iter_content).
        if is_stream and "timed out" in str(error).lower():
            raise _translate_timeout(attempt, is_stream=True) from error
        raise translate_connection(attempt, error) from error
    except docker.errors.DockerException as error:
        raise translate_connection(attempt, error) from error
    except OSError as error:
        raise translate_os_error(attempt, error) from error


def translate_answer(attempt: str, status: int, explanation: str) -> VolumeError:
    """Return the error for an answer of the engine that is no success: its words first, then its HTTP status."""
    words = explanation.strip()
    message = f"could not {attempt}: {words or f'HTTP status {status}'}"
    for known, kind, hint in _ERROR_OF_WORDS:
        if known in words.lower():
            return kind(message, hint=hint)
    return EngineFailedError(message, hint=_FAILED_HINT)


def translate_os_error(attempt: str, error: OSError) -> VolumeError:
    """Return the error for one of the operating system, by its number (errno(3))."""
    kind, hint = _ERROR_OF_ERRNO.get(error.errno or 0, (DirectoryUnreadableError, ""))
    return kind(f"could not {attempt}: {error.strerror or error}", hint=hint)


def _translate_timeout(attempt: str, *, is_stream: bool) -> VolumeError:
    if is_stream:
        return StreamStalledError(
            f"could not {attempt}: no byte came for too long", hint="look whether the engine still answers"
        )
    return EngineUnreachableError(
        f"could not {attempt}: the Docker engine does not answer", hint="restart Docker if it hangs"
    )


def translate_connection(attempt: str, error: Exception) -> VolumeError:
    """Return the error for a connection to the engine that could not be made, or broke."""
    cause = find_os_error(error)
    if isinstance(cause, PermissionError):
        return EngineUnreachableError(
            f"could not {attempt}: this user may not talk to the Docker engine",
            hint="join the group that owns the socket (usually `docker`), or run the agent as root",
        )
    if isinstance(cause, FileNotFoundError):
        reason = "its socket does not exist"
    elif isinstance(cause, ConnectionRefusedError):
        reason = "nobody listens there"
    elif isinstance(cause, TimeoutError):
        reason = "it does not answer"
    else:
        reason = cause.strerror or str(cause) if cause else "the connection broke"
    return EngineUnreachableError(f"could not {attempt}: {reason}", hint=_UNREACHABLE_HINT)


def find_os_error(error: BaseException) -> OSError | None:
    """Return the operating system's own error that a library wrapped, however deep, else None."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        candidate = waiting.pop()
        if not isinstance(candidate, BaseException) or id(candidate) in seen:
            continue
        seen.add(id(candidate))
        # requests' own exceptions are OSErrors without a number.
        if isinstance(candidate, OSError) and candidate.errno is not None:
            return candidate
        if isinstance(candidate, TimeoutError):
            return candidate
        waiting += [candidate.__cause__, candidate.__context__, getattr(candidate, "reason", None), *candidate.args]
    return None
