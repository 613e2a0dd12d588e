"""HTTP over the engine's Unix socket: docker-py's transport, with its connections kept and closed.

docker 7.2.0 keeps a pool for each address that was ever asked, the path included, so that hardly a connection is
used twice, and leaves a socket open whose `connect` failed. Here all calls share one pool.
"""

from __future__ import annotations

import socket

from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool

_POOL = "the one engine"


class _Connection(UnixHTTPConnection):  # type: ignore[misc]  # docker ships no types
    """A connection that closes its socket when nobody listens."""

    def connect(self) -> None:
        """Connect to the socket."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(self.timeout)
            made.connect(self.unix_socket)
        except BaseException:
            made.close()
            raise
        self.sock = made


class _Pool(UnixHTTPConnectionPool):  # type: ignore[misc]  # docker ships no types
    """The connections to one engine."""

    def _new_conn(self) -> _Connection:
        return _Connection(self.base_url, self.socket_path, self.timeout)


class UnixTransport(UnixHTTPAdapter):  # type: ignore[misc]  # docker ships no types
    """What requests sends with. `socket_url` begins with `http+unix://`."""

    def get_connection(self, url: str, proxies: object = None) -> _Pool:
        """Return the pool, whatever the address."""
        del proxies
        with self.pools.lock:
            pool: _Pool | None = self.pools.get(_POOL)
            if pool is None:
                pool = _Pool(url, self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[_POOL] = pool
            return pool
