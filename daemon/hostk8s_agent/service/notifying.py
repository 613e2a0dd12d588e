"""What systemd is told: sd_notify(3), a datagram of `NAME=value` lines to `$NOTIFY_SOCKET`."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# A status is one line in `systemctl status`.
MAX_STATUS_LENGTH = 200


class Notifier:
    """Tells the service manager, or nobody where none asks. Never raises: that it is gone is no fault of ours."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _parse_address(environment.get("NOTIFY_SOCKET", ""))
        self.watchdog_seconds = _parse_watchdog_seconds(environment) if self._address else None

    @property
    def is_asked(self) -> bool:
        """Whether there is a manager that wants to know."""
        return self._address is not None

    def tell_ready(self, status: str) -> None:
        """Started, or reloaded: all that was to be tried was tried once."""
        self._send(f"READY=1\nSTATUS={_shorten(status)}")

    def tell_status(self, status: str) -> None:
        """One line about what is true, for `systemctl status`."""
        self._send(f"STATUS={_shorten(status)}")

    def tell_reloading(self) -> None:
        """The settings are read anew; READY follows. The time is what Type=notify-reload (systemd 253) compares."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=reading the settings anew")

    def tell_alive(self) -> None:
        """Everything moves: the watchdog's time begins anew."""
        self._send("WATCHDOG=1")

    def tell_stopping(self) -> None:
        """No more work is taken; what is under way is finished."""
        self._send("STOPPING=1\nSTATUS=finishing what is under way")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
            # A manager that does not read must not hold up the agent.
            way.settimeout(1)
            way.sendto(message.encode(), self._address)


def _parse_address(text: str) -> str | None:
    """Return the address: a path, or `@name` in the abstract namespace (unix(7)), which begins with a NUL."""
    if text.startswith("@"):
        return f"\0{text[1:]}"
    return text if text.startswith("/") else None


def _parse_watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Return after how many seconds of silence we are restarted (sd_watchdog_enabled(3)); None when never."""
    # Set for another process of the service, it is not meant for us.
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if text.isdecimal() and int(text) > 0 else None


def _shorten(status: str) -> str:
    line = " ".join(status.split())
    return line if len(line) <= MAX_STATUS_LENGTH else f"{line[: MAX_STATUS_LENGTH - 1]}…"
