"""The one place where errors of the HTTP client become errors of ours.

No message quotes a header, a body that we sent, or an exception of the `kubernetes` package: its kubeconfig
loader puts whole users, tokens included, into its messages.
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

import urllib3.exceptions as http

from hostk8s_agent.cluster.errors import (
    ClusterAnswerError,
    ClusterTimeoutError,
    ClusterTlsError,
    ClusterUnreachableError,
)
from hostk8s_agent.cluster.statuses import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterator

_HINT_UNREACHABLE = "start the cluster (make start); the agent goes on trying by itself"


@contextmanager
def translate_errors(server: str) -> Iterator[None]:
    """Raise what the HTTP client raises as a `ClusterError`, chained to its origin. `server` is named in it."""
    try:
        yield
    except (http.SSLError, ssl.SSLError) as error:
        raise _tls_error(server, error) from error
    except http.NewConnectionError as error:  # which urllib3 derives from its timeout
        raise _unreachable_error(server, error) from error
    except (http.ConnectTimeoutError, http.ReadTimeoutError, TimeoutError) as error:
        raise ClusterTimeoutError(
            f"the API server at {server} does not answer in time",
            hint="look at the cluster's node (docker ps, docker logs); the agent goes on trying by itself",
        ) from error
    except (http.HTTPError, OSError) as error:
        raise _unreachable_error(server, error) from error
    except (ValueError, RecursionError) as error:  # JSON that is none, UTF-8 that is none
        raise ClusterAnswerError(
            f"the API server at {server} sent something that is no JSON",
            hint="check that the kubeconfig names an API server and nothing in between; the agent goes on trying",
        ) from error


def _unreachable_error(server: str, error: BaseException) -> ClusterUnreachableError:
    return ClusterUnreachableError(
        f"the API server at {server} cannot be reached: {_reason(error)}", hint=_HINT_UNREACHABLE
    )


def _tls_error(server: str, error: Exception) -> ClusterTlsError | ClusterUnreachableError:
    inner = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    if isinstance(inner, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return ClusterUnreachableError(f"the API server at {server} broke the connection off", hint=_HINT_UNREACHABLE)
    reason = getattr(inner, "verify_message", "") or getattr(inner, "reason", None) or "TLS failed"
    return ClusterTlsError(
        f"the connection to {server} is not to be trusted: {clean_text(str(reason))}",
        hint="write the kubeconfig again (make start, or kind export kubeconfig): a re-created cluster has new keys",
    )


def _reason(error: BaseException) -> str:
    """Return the operating system's words, found at the bottom of the chain, else the error's kind."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return clean_text(seen.strerror)
        inner = next((one for one in seen.args if isinstance(one, BaseException)), None)
        seen = inner or seen.__cause__ or seen.__context__
    return "the connection broke before the answer was whole"
