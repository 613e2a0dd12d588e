"""What the log shows, and what it never shows."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from hostk8s_agent.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Other tests meet logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """A stream that is no terminal."""
    with io.StringIO() as stream:
        yield stream


def parsed(lines: io.StringIO) -> list[dict[str, Any]]:
    """Every line, as JSON."""
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def fail_with_secret(words: str) -> None:
    """Raise with a secret in a local variable, and `words` in the message."""
    secret = f"{PASSWORD}!"
    raise ValueError(f"{words} {len(secret)}")


def test_a_line_is_one_json_object_with_time_level_and_keys(lines: io.StringIO) -> None:
    """Without a terminal, a machine reads the log."""
    configure_logging("info", "auto", lines)
    structlog.get_logger().info("reconcile.finished", stack="a/b", duration_seconds=0.5)
    (line,) = parsed(lines)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "reconcile.finished", "level": "info", "stack": "a/b", "duration_seconds": 0.5}


def test_every_line_of_a_run_carries_its_id(lines: io.StringIO) -> None:
    """What is bound to the context stands on our lines and on the libraries'."""
    configure_logging("info", "json", lines)
    with structlog.contextvars.bound_contextvars(reconcile_id="cafe"):
        structlog.get_logger().info("one")
        logging.getLogger("urllib3.connectionpool").warning("retrying %s", "x")
    structlog.get_logger().info("two")
    assert [line.get("reconcile_id") for line in parsed(lines)] == ["cafe", "cafe", None]


def test_libraries_are_heard_from_warnings_on(lines: io.StringIO) -> None:
    """Even at level debug: urllib3 would log every request. The event's name stays a constant."""
    configure_logging("debug", "json", lines)
    for name in ("uvicorn.error", "urllib3.connectionpool", "watchdog.observers"):
        logging.getLogger(name).info("noise")
    # Nor of a browser that went in the middle of an answer.
    logging.getLogger("asyncio").warning("socket.send() raised exception.")
    logging.getLogger("watchdog.observers").warning("queue overflow: %d", 7)
    assert [(line["event"], line["message"], line["logger"]) for line in parsed(lines)] == [
        ("library.message", "queue overflow: 7", "watchdog.observers")
    ]


@pytest.mark.parametrize(("level", "expected"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_the_setting(lines: io.StringIO, level: str, expected: int) -> None:
    """Less severe lines are not written at all."""
    configure_logging(level, "json", lines)
    log = structlog.get_logger()
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert len(parsed(lines)) == expected


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_traceback_shows_no_local_variables(lines: io.StringIO, log_format: str) -> None:
    """Local variables hold credentials."""
    configure_logging("info", log_format, lines)
    try:
        fail_with_secret("no answer")
    except ValueError:
        structlog.get_logger().exception("connection.failed")
    assert "fail_with_secret" in lines.getvalue()
    assert PASSWORD not in lines.getvalue()


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize(
    "values",
    [
        {"registry_token": PASSWORD},
        {"headers": {"Authorization": f"Bearer {PASSWORD}"}},
        {"message": f"GET / with Authorization: Bearer {PASSWORD}"},
        {"endpoint": f"https://ada:{PASSWORD}@example.org/v1"},
        {"error": ValueError(f"https://ada:{PASSWORD}@example.org/v1")},
        {"tried": [f"tcp://ada:{PASSWORD}@example.org"]},
        {"text": f"-----BEGIN RSA PRIVATE KEY-----\n{PASSWORD}\n-----END RSA PRIVATE KEY-----"},
    ],
)
def test_secrets_are_hidden(lines: io.StringIO, log_format: str, values: dict[str, object]) -> None:
    """Under a key that names one, and wherever a value looks like one."""
    configure_logging("info", log_format, lines)
    structlog.get_logger().info("something.happened", **values)
    assert "[hidden]" in lines.getvalue()
    assert PASSWORD not in lines.getvalue()


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_secret_in_an_exception_is_hidden(lines: io.StringIO, log_format: str) -> None:
    """The message of an exception is text like any other."""
    configure_logging("info", log_format, lines)
    try:
        fail_with_secret(f"https://ada:{PASSWORD}@example.org")
    except ValueError:
        structlog.get_logger().exception("connection.failed")
    assert PASSWORD not in lines.getvalue()


def test_text_cannot_paint_the_terminal(lines: io.StringIO) -> None:
    """A folder may be called ESC[2J."""
    configure_logging("info", "text", lines)
    structlog.get_logger().info("stack.seen", stack="\x1b[2J", path="a\u202eb")
    assert "\x1b" not in lines.getvalue()
    assert "\u202e" not in lines.getvalue()


def test_a_broken_stream_breaks_nothing() -> None:
    """A log that cannot be written must not stop a reconcile."""
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    stream.close()
    structlog.get_logger().info("still.here")
