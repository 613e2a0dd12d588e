"""The ways to tell somebody. Each delivers one notice or says why not, in words that hold no secret."""

from __future__ import annotations

import html
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

import urllib3

from hostk8s_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hostk8s_agent.notification.noticing import Notice
    from hostk8s_agent.settings import Settings

WEBHOOK_SECONDS: Final = 10.0
COMMAND_SECONDS: Final = 30.0
_HTTP_OK: Final = range(200, 300)
# Discord refuses a content of more than 2,000 characters; Slack cuts at more.
_MAX_CONTENT: Final = 1900
_APPLE_SCRIPT: Final = (
    *("-e", "on run argv", "-e", "display notification (item 2 of argv) with title (item 1 of argv)", "-e", "end run"),
)


class NotificationError(AgentError):
    """A notification could not be delivered."""

    code = "NotificationFailed"
    retryable = True


class Channel(Protocol):
    """One way to tell somebody. `target` is whom it reaches, without secrets; nobody may be there if it `may_fail`."""

    name: str
    target: str
    may_fail: bool

    def deliver(self, notice: Notice) -> None:
        """Tell it, within half a minute or so. Raises `NotificationError`."""


class Webhook:
    """Posts JSON. No redirect is followed: it would take the token elsewhere."""

    name = "webhook"
    may_fail = False

    def __init__(self, url: str, token: str = "", *, timeout_seconds: float = WEBHOOK_SECONDS) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json", "User-Agent": "hostk8s-agent"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout = urllib3.Timeout(total=timeout_seconds)
        self.target = urlsplit(url).hostname or "an address without a host"

    def deliver(self, notice: Notice) -> None:
        """Post it: `text` is what Slack and Mattermost show, `content` Discord."""
        text = f"{notice.title}\n{notice.text}"
        body = {
            "title": notice.title,
            "text": text,
            "content": text[:_MAX_CONTENT],
            "kinds": notice.kinds,
            "stacks": notice.stacks,
            "isFailure": notice.is_failure,
        }
        try:
            with urllib3.PoolManager(retries=False, timeout=self._timeout) as pool:
                answer = pool.request(
                    "POST",
                    self._url,
                    body=json.dumps(body).encode(),
                    headers=self._headers,
                    redirect=False,
                    # What it answers is not wanted, and may have no end.
                    preload_content=False,
                )
                status = answer.status
                answer.close()
        except urllib3.exceptions.HTTPError as error:
            # Never its words: they hold the address.
            raise NotificationError(f"{self.target} cannot be reached ({_name(error)})") from None
        if status not in _HTTP_OK:
            raise NotificationError(f"{self.target} answered with HTTP status {status}")


class Command:
    """Runs a program, without a shell: the text on its input, the rest in `HOSTK8S_NOTIFICATION_*`."""

    name = "command"
    may_fail = False

    def __init__(self, words: Sequence[str], *, timeout_seconds: float = COMMAND_SECONDS) -> None:
        self._words = tuple(words)
        self._timeout_seconds = timeout_seconds
        self.target = Path(words[0]).name

    def deliver(self, notice: Notice) -> None:
        """Run it, and wait for its end."""
        told = {
            "TITLE": notice.title,
            "KINDS": " ".join(notice.kinds),
            "STACKS": " ".join(notice.stacks),
            "IS_FAILURE": "true" if notice.is_failure else "false",
        }
        variables = {f"HOSTK8S_NOTIFICATION_{name}": value.replace("\0", "") for name, value in told.items()}
        _run(self.target, self._words, f"{notice.title}\n{notice.text}\n", self._timeout_seconds, variables)


class Desktop:
    """Shows it on the desktop, by the program that is there for it."""

    name = "desktop"
    # Nobody may be logged in.
    may_fail = True

    def __init__(self, program: str) -> None:
        self._program = program
        self.target = Path(program).name

    def deliver(self, notice: Notice) -> None:
        """Show it."""
        title, text = notice.title.replace("\0", ""), notice.text.replace("\0", "")
        if self.target == "osascript":
            # As arguments, never in the script's text.
            words: tuple[str, ...] = (self._program, *_APPLE_SCRIPT, title, text)
        else:
            urgency = "--urgency=critical" if notice.is_failure else "--urgency=normal"
            # The body is markup (Desktop Notifications Specification, Body).
            words = (self._program, "--app-name=hostk8s-agent", urgency, "--", title, html.escape(text, quote=False))
        _run(self.target, words, "", COMMAND_SECONDS)


def build_channels(settings: Settings, environment: Mapping[str, str] = os.environ) -> tuple[Channel, ...]:
    """Return the channels that the settings name; the desktop only where there is one to be had."""
    found: list[Channel] = []
    if settings.notify_desktop and (program := find_desktop_program(environment)):
        found.append(Desktop(program))
    if settings.notify_webhook_url is not None:
        token = settings.notify_webhook_token.get_secret_value() if settings.notify_webhook_token else ""
        found.append(Webhook(settings.notify_webhook_url.get_secret_value(), token))
    if settings.notify_command:
        found.append(Command([word.get_secret_value() for word in settings.notify_command]))
    return tuple(found)


def find_desktop_program(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the program that shows something on the desktop, None without one or without a session's bus."""
    path = environment.get("PATH")
    if sys.platform == "darwin":
        return shutil.which("osascript", path=path)
    bus = Path(environment.get("XDG_RUNTIME_DIR") or "/nonexistent") / "bus"
    has_bus = bool(environment.get("DBUS_SESSION_BUS_ADDRESS")) or bus.exists()
    return shutil.which("notify-send", path=path) if has_bus else None


def _run(
    target: str, words: Sequence[str], text: str, timeout_seconds: float, variables: Mapping[str, str] | None = None
) -> None:
    try:
        # In a group of its own, so that at its end nothing is left of what it has started.
        with subprocess.Popen(  # noqa: S603 - a list of words, and no shell
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **(variables or {})},
            start_new_session=True,
        ) as process:
            try:
                process.communicate(text.encode("utf-8", "replace"), timeout=timeout_seconds)
            except BaseException as error:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise NotificationError(f"{target} did not end within {timeout_seconds:g} s") from None
                raise
    except OSError as error:
        raise NotificationError(f"{target} cannot be run: {error.strerror}") from None
    if process.returncode:
        raise NotificationError(f"{target} ended with {process.returncode}")


def _name(error: urllib3.exceptions.HTTPError) -> str:
    """Return what kind of failure it is, in words of ours."""
    # One that is refused is a timeout by its class.
    is_refused = isinstance(error, urllib3.exceptions.NewConnectionError)
    if isinstance(error, urllib3.exceptions.TimeoutError) and not is_refused:
        return "no answer in time"
    if isinstance(error, urllib3.exceptions.SSLError):
        return "its certificate is not trusted"
    return "no connection"
