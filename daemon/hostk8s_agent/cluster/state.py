"""How the connection stands, and how patient it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hostk8s_agent.cluster.errors import ClusterRefusedError, KubeconfigError

if TYPE_CHECKING:
    from hostk8s_agent.errors import ClusterError, Problem

ConnectionState = Literal["Connected", "Connecting", "Unreachable", "Refused", "NoKubeconfig"]
"""`Connected`: everything was listed and is watched. `Refused`: the server answers 401 or 403."""


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The connection at an instant.

    `context`, `server`, `uid` (of the namespace `kube-system`, which tells a cluster from its successor) and
    `version` (such as `v1.33.1`) are empty as long as they are not known; the last known ones are kept while the
    cluster is away. `problem` says what is wrong: the reason for any state but Connected and Connecting, and
    beside Connected a kubeconfig that has become unusable (the last good one stays in force). `since_seconds` is
    when the state began, in seconds since the epoch.
    """

    state: ConnectionState = "Connecting"
    context: str = ""
    server: str = ""
    uid: str = ""
    version: str = ""
    problem: Problem | None = None
    since_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ConnectionTiming:
    """All waits of the connection, in seconds.

    With these a peer that went silent is noticed within `heartbeat` + `read_timeout` = 30 s, and one silent watch
    within `watch_longest` + `watch_patience` = 38 s: less than `fresh`, after which observations are refused.
    """

    poll_kubeconfig: float = 1.0
    # The same without a connection: then a look is one stat and one knock on a closed port of this machine.
    look_away: float = 0.2
    heartbeat: float = 20.0
    connect_timeout: float = 3.0
    read_timeout: float = 10.0
    fresh: float = 45.0
    # A reflector of client-go watches for 5 to 10 minutes. We must notice one silent watch among lively
    # connections; opening it again costs a millisecond.
    watch_shortest: int = 20
    watch_longest: int = 30
    watch_patience: float = 8.0
    # Events can be lost without a trace: once in a while everything is listed again.
    relist: float = 300.0
    # A failed attempt is followed by a wait of `backoff_first`, doubled up to `backoff_cap`, each time spread up to
    # twofold. One attempt that fails is one request: at most 4 a minute, and back within 30 s.
    backoff_first: float = 0.8
    backoff_cap: float = 15.0
    # But a server of this machine that is just coming up is asked again after `eager_first` seconds, or a fiftieth of
    # the time that it has taken already, for at most `eager_for` seconds (which is time enough for a Kind node).
    eager_first: float = 0.25
    eager_for: float = 60.0
    # A connection that lasted this long owes nothing to the failures before it.
    backoff_reset: float = 60.0


def state_of(error: ClusterError) -> ConnectionState:
    """Return the state of a connection that has failed with this error."""
    if isinstance(error, KubeconfigError):
        return "NoKubeconfig"
    return "Refused" if isinstance(error, ClusterRefusedError) else "Unreachable"
