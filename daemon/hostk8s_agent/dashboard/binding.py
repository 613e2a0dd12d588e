"""A port of our own on loopback."""

from __future__ import annotations

import socket

from hostk8s_agent.serving.server import BACKLOG

ADDRESS = "127.0.0.1"
# So many ports from the wanted one on are tried before any other is taken.
NEIGHBOURS = 20
MAX_PORT = 65_535


def bind_port(wanted: int, before: int) -> socket.socket:
    """Return a socket that listens on loopback: on `before` (0: none), `wanted`, one of the next, or any other port.

    Raises `OSError` when none can be had.
    """
    ports = [port for port in (before, *range(wanted, wanted + NEIGHBOURS)) if 0 < port <= MAX_PORT]
    for port in dict.fromkeys(ports):
        try:
            return _bind(port)
        except OSError:
            # Another user's, another agent's, or one that only root may have.
            continue
    return _bind(0)


def _bind(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A restart must have its port again at once, in spite of connections that are still being ended (TIME_WAIT).
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((ADDRESS, port))
        bound.listen(BACKLOG)
        bound.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except BaseException:
        bound.close()
        raise
    return bound
