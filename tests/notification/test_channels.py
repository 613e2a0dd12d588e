"""Each channel on the real thing: a web server on loopback, a program, and what stands on PATH as notify-send."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.notification.conftest import Hook

from hostk8s_agent.notification.channels import Command, Desktop, NotificationError, Webhook, build_channels
from hostk8s_agent.notification.delivering import Courier
from hostk8s_agent.notification.noticing import Notice
from hostk8s_agent.settings import Settings
from hostk8s_agent.status.model import NotificationChannelStatus

NOTICE = Notice("HostK8s w: it's <b>bad</b>", "a is $(touch /tmp/x) `b`\nline 2", ("problem",), ("a", "b"))
SECRET = "T0-B0-canary"


def test_a_webhook_gets_what_slack_and_discord_read(hook: Hook) -> None:
    """Title, text, kinds and stacks as JSON, with the token."""
    Webhook(f"{hook.url}/services/{SECRET}", "tok").deliver(NOTICE)
    ((path, headers, body),) = hook.posts
    assert (path, headers["Authorization"]) == (f"/services/{SECRET}", "Bearer tok")
    assert body == {
        "title": NOTICE.title,
        "text": f"{NOTICE.title}\n{NOTICE.text}",
        "content": f"{NOTICE.title}\n{NOTICE.text}",
        "kinds": ["problem"],
        "stacks": ["a", "b"],
        "isFailure": True,
    }


def test_a_webhook_that_says_no_is_told_without_its_address(hook: Hook) -> None:
    """An error, a redirect (which would take the token elsewhere), a silence, nobody there."""
    channel = Webhook(f"{hook.url}/{SECRET}", "tok", timeout_seconds=0.2)
    hook.status = 500
    with pytest.raises(NotificationError, match=r"^127\.0\.0\.1 answered with HTTP status 500$"):
        channel.deliver(NOTICE)
    hook.status, hook.location = 307, f"{hook.url}/elsewhere"
    with pytest.raises(NotificationError, match="307"):
        channel.deliver(NOTICE)
    assert {path for path, _, _ in hook.posts} == {f"/{SECRET}"}
    hook.answering.clear()
    with pytest.raises(NotificationError, match="no answer in time"):
        channel.deliver(NOTICE)
    with pytest.raises(NotificationError, match=r"no connection") as raised:
        Webhook(f"http://127.0.0.1:1/{SECRET}").deliver(NOTICE)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def write_program(file: Path, script: str) -> Path:
    """A program of the given shell script."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_a_command_gets_the_text_and_no_shell(tmp_path: Path) -> None:
    """Its input is the text, its environment the rest; nothing in either is run."""
    program = write_program(
        tmp_path / "tell",
        f'cat > {tmp_path}/input; echo "$1|$HOSTK8S_NOTIFICATION_TITLE|$HOSTK8S_NOTIFICATION_STACKS" > {tmp_path}/told',
    )
    Command([str(program), "$HOME"]).deliver(NOTICE)
    assert (tmp_path / "input").read_text(encoding="utf-8") == f"{NOTICE.title}\n{NOTICE.text}\n"
    assert (tmp_path / "told").read_text(encoding="utf-8") == f"$HOME|{NOTICE.title}|a b\n"


def test_a_command_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """And one that fails, or is not there, is told by its name alone."""
    program = write_program(tmp_path / "hang", f"sleep 600 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(NotificationError, match=r"^hang did not end within 0.3 s$"):
        Command([str(program), SECRET], timeout_seconds=0.3).deliver(NOTICE)
    child = int((tmp_path / "child").read_text(encoding="utf-8"))

    def is_gone() -> bool:
        stat = Path(f"/proc/{child}/stat")
        return not stat.exists() or stat.read_text(encoding="utf-8").split()[2] == "Z"

    wait_until(is_gone, "the child is ended")
    with pytest.raises(NotificationError, match=r"^fails ended with 3$"):
        Command([str(write_program(tmp_path / "fails", "exit 3")), SECRET]).deliver(NOTICE)
    with pytest.raises(NotificationError, match=r"^nowhere cannot be run: No such file or directory$"):
        Command([str(tmp_path / "nowhere"), SECRET]).deliver(NOTICE)


def test_the_desktop_is_told_by_the_program_on_the_path(tmp_path: Path) -> None:
    """Where there is one and a session's bus, and as text: its body is markup."""
    write_program(tmp_path / "bin/notify-send", f'for word; do echo "[$word]"; done > {tmp_path}/shown')
    environment = {"PATH": str(tmp_path / "bin"), "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus"}
    (desktop,) = build_channels(Settings(), environment)
    desktop.deliver(NOTICE)
    assert (tmp_path / "shown").read_text(encoding="utf-8") == (
        f"[--app-name=hostk8s-agent]\n[--urgency=critical]\n[--]\n[{NOTICE.title}]\n[{NOTICE.text}]\n"
    )
    # On macOS the texts are arguments, too, and never part of the script.
    Desktop(
        str(write_program(tmp_path / "osascript", f'shift 6; for word; do echo "[$word]"; done > {tmp_path}/shown'))
    ).deliver(NOTICE)
    assert (tmp_path / "shown").read_text(encoding="utf-8") == f"[{NOTICE.title}]\n[{NOTICE.text}]\n"
    assert build_channels(Settings(), {"PATH": environment["PATH"]}) == ()
    assert build_channels(Settings(notify_desktop=False), environment) == ()


def test_a_channel_that_hangs_holds_up_nobody(hook: Hook, tmp_path: Path, wait_until: Callable[..., None]) -> None:
    """Posting and stopping return at once; another channel goes on; what waits is bounded."""
    outcomes: list[NotificationChannelStatus] = []
    hook.answering.clear()
    hanging = Courier(Webhook(hook.url), lambda status, _: outcomes.append(status))
    other = Courier(
        Command([str(write_program(tmp_path / "tell", "exit 0"))]), lambda status, _: outcomes.append(status)
    )
    hanging.start()
    other.start()
    for _ in range(50):
        hanging.post(NOTICE)
    other.post(NOTICE)
    wait_until(lambda: outcomes and hook.posts, "one is told while the other hangs")
    assert [(one.channel, one.state, one.delivered) for one in outcomes] == [("command", "Delivered", 1)]
    stopper = threading.Thread(target=hanging.stop)
    stopper.start()
    stopper.join(5)
    assert not stopper.is_alive()
    other.stop()


def test_a_notice_that_fails_is_tried_again_and_then_given_up(hook: Hook, wait_until: Callable[..., None]) -> None:
    """What came of it is known either way."""
    outcomes: list[tuple[str, int, str]] = []
    hook.status = 503
    courier = Courier(
        Webhook(hook.url),
        lambda status, failure: outcomes.append((status.state, status.failed, failure)),
        retry_seconds=(0, 0),
    )
    courier.start()
    courier.post(NOTICE)
    wait_until(lambda: outcomes, "it is given up")
    assert (len(hook.posts), outcomes) == (3, [("Failing", 1, "127.0.0.1 answered with HTTP status 503")])
    courier.stop()
    assert os.environ.get("HOSTK8S_NOTIFICATION_TITLE") is None
