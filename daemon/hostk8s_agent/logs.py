"""What the agent logs, and how: for people on a terminal, one JSON object a line elsewhere, always on stderr.

An event's name is a constant (`reconcile.finished`), what varies is in its keys. `reconcile_id` and `stack` are bound
to the context by the controller, so that every line of a run carries them. The standard library's logging (uvicorn,
watchdog, urllib3) takes the same way, from warnings on.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import TextIO

    from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "[hidden]"

# syslog(3).
_PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}

# Levels of the standard library: `warning` for what is not ours. urllib3 at debug would log every header.
_OWN_LOGGER = "hostk8s_agent"
_FOREIGN_LEVEL = logging.WARNING

_SECRET_KEY = re.compile(r"token|passw|secret|authorization|credential|private_key|client_key|cookie", re.IGNORECASE)
# user:password@ in a URL, and what follows Bearer or Basic in a header that found its way into a message.
_SECRET_VALUES = (
    (re.compile(r"(?<=://)[^/@\s:]+:[^/@\s]+(?=@)"), HIDDEN),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
)
# C0 and C1 controls but tab and newline, and what turns the direction of text: a file's name must not paint the screen.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def configure_logging(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Set up logging for the whole process; the last call holds.

    `level` is debug, info, warning or error; `log_format` auto (text on a terminal, journal where systemd's journal
    reads, else JSON), text, json or journal; `stream` is stderr unless given. Never logs local variables of a
    traceback: they hold credentials.
    """
    target = sys.stderr if stream is None else stream
    is_journal = log_format == "journal" or (log_format == "auto" and _is_journal(target))
    is_text = not is_journal and (log_format == "text" or (log_format == "auto" and target.isatty()))
    is_colored = target.isatty() and not os.environ.get("NO_COLOR")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _name_foreign_event],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(
                    _build_journal_renderers()
                    if is_journal
                    else _build_renderers(is_text=is_text, is_colored=is_colored)
                ),
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(_FOREIGN_LEVEL)
    logging.getLogger(_OWN_LOGGER).setLevel(level.upper())
    # A browser that goes in the middle of an answer is no news, and each of its tabs would be a dozen lines.
    logging.getLogger("asyncio").addFilter(_is_news)
    # A log that cannot be written (a full disk, a closed pipe) must not become a traceback on every line.
    logging.raiseExceptions = False
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_OwnLoggerFactory(),
        # Loggers made at import keep nothing from before this call, and a second call is heard by all of them.
        cache_logger_on_first_use=False,
    )


class _OwnLoggerFactory:
    """Every logger of ours is the one standard library logger, whose level is the setting's."""

    def __call__(self, *_names: object) -> logging.Logger:
        return logging.getLogger(_OWN_LOGGER)


def _is_news(record: logging.LogRecord) -> bool:
    return record.msg != "socket.send() raised exception."


def _build_renderers(*, is_text: bool, is_colored: bool) -> list[Processor]:
    if is_text:
        # Rich's tracebacks, structlog's default where rich is installed, show local variables.
        plain = structlog.dev.plain_traceback
        console = structlog.dev.ConsoleRenderer(colors=is_colored, exception_formatter=plain, sort_keys=False)
        return [structlog.processors.format_exc_info, _name_stack, _hide_secrets, _quote_controls, console]
    as_data = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    return [as_data, _hide_secrets, structlog.processors.JSONRenderer(default=str)]


def _is_journal(stream: TextIO) -> bool:
    """Whether the stream is systemd's journal: `$JOURNAL_STREAM` holds its device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _build_journal_renderers() -> list[Processor]:
    """The journal has the time and the level itself; it reads the level from `<N>` before each line (sd-daemon(3))."""
    plain = structlog.dev.plain_traceback
    console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain, sort_keys=False)
    rendering = _JournalRenderer(console)
    return [structlog.processors.format_exc_info, _name_stack, _hide_secrets, _quote_controls, rendering]


class _JournalRenderer:
    """Renders an event as lines that each begin with their level."""

    def __init__(self, console: Processor) -> None:
        self._console = console

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        priority = _PRIORITIES.get(str(event.pop("level", "info")), 6)
        event.pop("timestamp", None)
        text = str(self._console(logger, method, event))
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


def _name_stack(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep the stack's name in its line: structlog's console takes `stack` for a stack trace, below the line."""
    if "stack" in event:
        event["stack_name"] = event.pop("stack")
    return event


def _name_foreign_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put a library's message under a key: an event's name is a constant."""
    record = event.get("_record")
    if record is not None:
        event["logger"], event["message"], event["event"] = record.name, event["event"], "library.message"
    return event


def hide_secrets(value: Any) -> Any:  # noqa: ANN401 - a log's values are anything
    """Return the value with every secret in it hidden: what a name gives away, and what looks like one in text."""
    return _clean(value)


def _hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: HIDDEN if _SECRET_KEY.search(key) else _clean(value) for key, value in event.items()}


def _clean(value: Any) -> Any:  # noqa: ANN401 - a log's values are anything
    if isinstance(value, str):
        for pattern, replacement in _SECRET_VALUES:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, dict):
        return {key: HIDDEN if _SECRET_KEY.search(str(key)) else _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    # An exception or a path given as a value is rendered by its text, which is cleaned like any other.
    return value if isinstance(value, (int, float, bool, type(None))) else _clean(str(value))


def _quote_controls(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> EventDict:
    return {
        key: _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", value) if isinstance(value, str) else value
        for key, value in event.items()
    }
