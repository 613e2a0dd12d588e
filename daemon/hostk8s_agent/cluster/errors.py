"""What can go wrong with Kubernetes: one tree, with the words for a person.

```
ClusterError
├── ClusterUnavailableError     nothing fresh is known of the cluster; its problem is the reason
├── KubeconfigError             there is no connection to be made from the kubeconfig
│   ├── KubeconfigMissingError     no such file yet
│   ├── KubeconfigUnreadableError  it is there, and we may not read it
│   └── KubeconfigInvalidError     empty, cut short, no context, a certificate that is none
├── ClusterUnreachableError     no connection, or it broke
│   ├── ClusterTimeoutError        no answer in time
│   └── ClusterTlsError            the certificate is not what the kubeconfig says
├── ClusterRefusedError         the server knows us not, or lets us not
│   ├── ClusterUnauthenticatedError   401
│   └── ClusterForbiddenError         403
├── ClusterWaitError            the server asks for patience
│   ├── ClusterBusyError           429
│   └── ClusterFailedError         5xx
├── ClusterAnswerError          an answer that makes no sense
├── ResourceExpiredError        410, or a resource version the server has not reached: list again
├── ObjectConflictError         409: another field manager holds a field
├── ObjectChangedError          409: it is not (any more) the object that was observed
├── ObjectMissingError          404
├── ObjectInvalidError          400, 422
└── ManifestFolderError         (no cluster) the folder of manifests cannot be read or written
```

Only the standard library is imported here: who merely catches these needs no HTTP client.
"""

from __future__ import annotations

from hostk8s_agent.errors import ClusterError, Problem


class ClusterUnavailableError(ClusterError):
    """Nothing fresh is known of the cluster: it is not connected, or not heard of for too long.

    `problem` is the reason as the connection has it (such as `KubeconfigMissing`).
    """

    code = "ClusterUnavailable"
    retryable = True

    def __init__(self, cause: Problem) -> None:
        super().__init__(cause.message, hint=cause.hint)
        self.cause = cause

    @property
    def problem(self) -> Problem:
        """The reason, under its own code."""
        return self.cause


class KubeconfigError(ClusterError):
    """No connection can be made from the kubeconfig."""

    code = "KubeconfigInvalid"


class KubeconfigMissingError(KubeconfigError):
    """The kubeconfig does not exist (yet)."""

    code = "KubeconfigMissing"


class KubeconfigUnreadableError(KubeconfigError):
    """The kubeconfig exists, and cannot be read."""

    code = "KubeconfigUnreadable"


class KubeconfigInvalidError(KubeconfigError):
    """The kubeconfig says not enough, or something that cannot be."""

    code = "KubeconfigInvalid"


class KubeconfigContextError(KubeconfigError):
    """The kubeconfig leads to another cluster than this workspace's, or to one that nobody has said is meant."""

    code = "KubeconfigContext"


class ClusterUnreachableError(ClusterError):
    """No connection to the API server, or it broke before the answer was whole."""

    code = "ClusterUnreachable"
    retryable = True


class ClusterTimeoutError(ClusterUnreachableError):
    """The API server did not answer in time. A write may or may not have been carried out."""

    code = "ClusterTimeout"


class ClusterTlsError(ClusterUnreachableError):
    """The two ends cannot agree on who they are."""

    code = "ClusterTlsFailed"


class ClusterRefusedError(ClusterError):
    """The API server answers, and refuses us."""

    code = "ClusterRefused"
    retryable = True


class ClusterUnauthenticatedError(ClusterRefusedError):
    """401: the API server does not know the kubeconfig's user."""

    code = "ClusterUnauthenticated"


class ClusterForbiddenError(ClusterRefusedError):
    """403: the kubeconfig's user may not do this."""

    code = "ClusterForbidden"


class ClusterWaitError(ClusterError):
    """The API server asks for patience. `retry_after_seconds` is how long it asked for, None where it did not say."""

    code = "ClusterFailed"
    retryable = True

    def __init__(self, message: str, *, hint: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class ClusterBusyError(ClusterWaitError):
    """429: too many requests."""

    code = "ClusterBusy"


class ClusterFailedError(ClusterWaitError):
    """5xx: the API server, or its etcd, is in trouble."""

    code = "ClusterFailed"


class ClusterAnswerError(ClusterError):
    """An answer that is no JSON, not whole, or of a status that we know no meaning for."""

    code = "ClusterAnswerInvalid"
    retryable = True


class ResourceExpiredError(ClusterError):
    """The resource version is too old for the server, or newer than it has: everything must be listed again."""

    code = "ResourceExpired"
    retryable = True


class ObjectConflictError(ClusterError):
    """409: another field manager holds a field that we would set."""

    code = "ObjectConflict"


class ObjectChangedError(ClusterError):
    """409: the object was made, changed, replaced or deleted by someone since it was observed. It was not written."""

    code = "ObjectChanged"
    retryable = True


class ObjectMissingError(ClusterError):
    """404: there is no such object, or no such resource on this server."""

    code = "ObjectMissing"
    retryable = True


class ObjectInvalidError(ClusterError):
    """400 or 422: the API server does not accept the object."""

    code = "ObjectInvalid"


class ManifestFolderError(ClusterError):
    """The folder in which manifests stand in for a cluster cannot be read or written."""

    code = "ManifestFolderFailed"
    retryable = True
