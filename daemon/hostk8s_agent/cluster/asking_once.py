"""A connection to the API server for one command: no mirror, no thread, gone with its block."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.cluster.requests import RequestCounter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostk8s_agent.cluster.kubeconfig import Kubeconfig
    from hostk8s_agent.cluster.requests import ClusterClient

CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0


@contextmanager
def open_once(kubeconfig: Kubeconfig) -> Iterator[ClusterClient]:
    """Open a client of the kubeconfig's server. Raises the `ClusterError` of credentials that cannot be used."""
    # For whoever asks the server alone: it costs a quarter of a second.
    from hostk8s_agent.cluster.client import ApiServerClient  # noqa: PLC0415
    from hostk8s_agent.cluster.credentials import load_credentials  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="hostk8s-agent-") as scratch:
        client = ApiServerClient(
            load_credentials(kubeconfig, Path(scratch) / "credentials"),
            RequestCounter(),
            connect_timeout_seconds=CONNECT_SECONDS,
            read_timeout_seconds=READ_SECONDS,
        )
        try:
            yield client
        finally:
            client.close()
