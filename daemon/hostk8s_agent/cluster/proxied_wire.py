"""Requests through a proxy, of HTTP or SOCKS, as urllib3 knows them all."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from hostk8s_agent.cluster.wire import CHUNK_BYTES, USER_AGENT, Answer, Call, Stream

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

    from urllib3.connectionpool import HTTPConnectionPool

    from hostk8s_agent.cluster.credentials import Credentials
    from hostk8s_agent.cluster.sockets import Lifelines

# The apply threads, the workers that apply by themselves, three watches, a probe.
_POOL_SIZE = 32


class ProxiedWire:
    """Implements `Wire` for a server that is reached through the proxy of its credentials."""

    def __init__(
        self,
        credentials: Credentials,
        lifelines: Lifelines,
        *,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
    ) -> None:
        self._lifelines = lifelines
        self._connect_timeout = connect_timeout_seconds
        self._timeout = urllib3.Timeout(connect=connect_timeout_seconds, read=read_timeout_seconds)
        assert credentials.proxy is not None  # noqa: S101 - without one, `DirectWire` serves
        self._pools = _make_pools(credentials, credentials.proxy)
        # The one pool that there is, asked directly: finding it anew costs a third of the time of a request.
        self._pool = self._pools.connection_from_url(credentials.server)
        _tie_connections(self._pool, lifelines)

    def exchange(self, call: Call) -> Answer:
        """Send the call and return its whole answer."""
        response = self._open(call, self._timeout, preload=True)
        return Answer(response.status, response.headers, response.data)

    @contextmanager
    def open_stream(self, call: Call, patience_seconds: float) -> Iterator[Stream]:
        """Send the call and give its answer while it comes; no byte for `patience_seconds` is a timeout."""
        timeout = urllib3.Timeout(connect=self._connect_timeout, read=patience_seconds)
        response = self._open(call, timeout, preload=False)
        try:
            yield _ProxiedStream(response)
        finally:
            # A stream that was read to its end has given its connection back by now; any other is of no use.
            response.close()

    def close(self) -> None:
        """Break all connections, also under calls that wait in other threads, and every one from now on."""
        self._lifelines.cut()
        self._pools.clear()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._lifelines.is_cut

    def _open(self, call: Call, timeout: urllib3.Timeout, *, preload: bool) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
        if call.authorization:
            headers["Authorization"] = call.authorization
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        return self._pool.urlopen(
            call.method,
            call.target,
            body=call.body,
            headers=headers,
            timeout=timeout,
            preload_content=preload,
            retries=False,
            redirect=False,
            # The pool of a proxy for plain HTTP has the proxy's name, and every target is the server's.
            assert_same_host=False,
        )


class _ProxiedStream:
    """Implements `Stream`."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    def read_some(self) -> bytes:
        """Return what there is, waiting for at least one byte; empty at the end."""
        return self._response.read1(CHUNK_BYTES)


def _make_pools(credentials: Credentials, proxy: str) -> urllib3.PoolManager:
    options: dict[str, Any] = {"maxsize": _POOL_SIZE, "socket_options": credentials.socket_options}
    if credentials.tls is not None:
        options["ssl_context"] = credentials.tls
        options["server_hostname"] = credentials.server_name
    if proxy.startswith("socks"):
        from urllib3.contrib.socks import SOCKSProxyManager  # noqa: PLC0415 - needs PySocks, which few have

        return SOCKSProxyManager(proxy, **options)
    return urllib3.ProxyManager(proxy, **options)


def _tie_connections(pool: HTTPConnectionPool, lifelines: Lifelines) -> None:
    """Make all connections that `pool` opens from now on ones that `lifelines` can cut."""
    base = HTTPSConnection if pool.scheme == "https" else HTTPConnection
    # Each pool has a class of its own, because urllib3 builds connections itself and passes nothing through.
    pool.ConnectionCls = type("TiedConnection", (_TiedConnection, base), {"lifelines": lifelines})


class _TiedConnection:
    """What is added to urllib3's connections. `_new_conn` is their hook for making the TCP connection."""

    lifelines: Lifelines
    _lifeline: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        self._lifeline = self.lifelines.tie(connected)
        if self._lifeline is None:
            connected.close()
            raise NewConnectionError(self, "the client was closed")  # type: ignore[arg-type]
        return connected

    def close(self) -> None:
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            self.lifelines.untie(lifeline)
        super().close()  # type: ignore[misc]
