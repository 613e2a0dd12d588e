"""The control client: asks the workspace's agent, whichever of its places it listens on.

Only the standard library is imported here: `hostk8s-agent status` must start fast.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from hostk8s_agent.control import wire
from hostk8s_agent.control.errors import AgentSilentError, AgentUnresponsiveError, ControlError
from hostk8s_agent.control.places import find_socket_paths
from hostk8s_agent.errors import AgentNotRunningError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hostk8s_agent.workspace import Workspace

_UNQUOTED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/")

HTTP_OK = 200
STATUS_SECONDS = 10.0
PLAN_SECONDS = 120.0
NOTIFY_SECONDS = 60.0
# Deleting or measuring tens of millions of files takes its time.
STORAGE_SECONDS = 3600.0
# What a reconcile may take beyond the time that it was told to wait.
GRACE_SECONDS = 10.0

Document = dict[str, Any]
"""A JSON object, as docs/cli.md describes it."""


class RemoteError(ControlError):
    """The agent answered that it cannot: its code, message and hint."""

    def __init__(self, code: str, message: str, hint: str, http_status: int) -> None:
        super().__init__(message, hint=hint)
        # Of this one error, because the agent chose them.
        self.code = code  # type: ignore[misc]
        self.http_status = http_status  # type: ignore[misc]


class ControlClient:
    """Asks the agent of one workspace. Each call is a connection of its own, and may be made from any thread.

    Every call raises `AgentNotRunningError` at once when nobody listens, `AgentUnresponsiveError` when whoever
    listens does not answer in time, and `RemoteError` when the agent says no.
    """

    def __init__(self, workspace: Workspace, environment: Mapping[str, str] = os.environ) -> None:
        self._workspace = workspace
        self._paths = find_socket_paths(workspace, environment)

    def status(self, stack: str | None = None) -> Document:
        """Return the whole status, or with `stack` the same with just that stack in it."""
        return self._ask(wire.Request("GET", f"/v1/status{_query(stack)}"), STATUS_SECONDS)

    def stack(self, name: str) -> Document:
        """Return one stack's status."""
        return self._ask(wire.Request("GET", f"/v1/stacks/{_quote(name)}"), STATUS_SECONDS)

    def plan(self, stack: str | None = None) -> Document:
        """Return what a run of the stack (None: of each) would do: `{"plans": [...]}`."""
        return self._ask(wire.Request("GET", f"/v1/plan{_query(stack)}"), PLAN_SECONDS)

    def preview_pruning(self) -> Document:
        """Return what no contract asks for, and what holds it: `{"objects": [...], "problem": ...}`."""
        return self._ask(wire.Request("GET", "/v1/prune"), PLAN_SECONDS)

    def confirm_pruning(self) -> Document:
        """Let all of that be pruned, however much it is; return it."""
        return self._ask(wire.Request("POST", "/v1/prune/confirm"), PLAN_SECONDS)

    def release(self, volume: str, claim: str) -> Document:
        """Make a PersistentVolume bindable for the claim `namespace/name`; return `{"message": ...}`."""
        body = json.dumps({"volume": volume, "claim": claim}).encode()
        return self._ask(wire.Request("POST", "/v1/release", body), PLAN_SECONDS)

    def reconcile(self, stacks: Sequence[str] | None, *, wait_seconds: float | None = None) -> Document:
        """Ask for a reconcile of the stacks (None: all), and wait for it that long; return `{"stacks": [...]}`."""
        body: Document = {"stacks": None if stacks is None else list(stacks), "wait": wait_seconds is not None}
        if wait_seconds is not None:
            body["timeoutSeconds"] = wait_seconds
        request = wire.Request("POST", "/v1/reconcile", json.dumps(body).encode())
        return self._ask(request, GRACE_SECONDS + (wait_seconds or 0))

    def dashboard_link(self) -> str:
        """Return a link that opens the dashboard once, within minutes."""
        return str(self._ask(wire.Request("POST", "/v1/dashboard/link", b"{}"), STATUS_SECONDS)["url"])

    def test_notifications(self) -> Document:
        """Have the agent tell by every channel that this is a test: `{"channels": [...]}`."""
        return self._ask(wire.Request("POST", "/v1/notifications/test"), NOTIFY_SECONDS)

    def history(self, stack: str | None = None) -> Document:
        """Return the events that are kept, of the stack (None: all): `{"events": [...]}`."""
        return self._ask(wire.Request("GET", f"/v1/history{_query(stack)}"), STATUS_SECONDS)

    def orphans(self) -> Document:
        """Return `{"orphans": [...]}`: the directories that no contract asks for any more."""
        return self._ask(wire.Request("GET", "/v1/orphans"), STORAGE_SECONDS)

    def trash(self) -> Document:
        """Return `{"trash": [...]}`: what was purged and can be brought back."""
        return self._ask(wire.Request("GET", "/v1/trash"), STORAGE_SECONDS)

    def holders(self) -> Document:
        """Return `{"holders": [...]}`: the workspaces that hold paths of the volume, the agent's own first."""
        return self._ask(wire.Request("GET", "/v1/volume/holders"), STATUS_SECONDS)

    def care_for(self, what: str, **fields: str) -> Document:
        """Have something done with the volume: `purge`, `purge/undo`, `purge/empty`, `volume/...`."""
        return self._ask(wire.Request("POST", f"/v1/{what}", json.dumps(fields).encode()), STORAGE_SECONDS)

    def purge(self, path: str, timeout_seconds: float, *, without_snapshot: bool) -> Document:
        """Have an orphaned directory moved into the trash, secured before: `{"purged": ..., "secured": ...}`."""
        body = json.dumps({"path": path, "withoutSnapshot": without_snapshot}).encode()
        return self._ask(wire.Request("POST", "/v1/purge", body), timeout_seconds)

    def snapshots(self, stack: str | None = None) -> Document:
        """Return the snapshots of the stack (None: of all): `{"snapshots": [...]}`."""
        return self._ask(wire.Request("GET", f"/v1/snapshots{_query(stack)}"), PLAN_SECONDS)

    def ask_of_snapshots(self, verb: str, fields: Mapping[str, Any], timeout_seconds: float) -> Document:
        """Have the agent do what a verb of snapshots asks for, and wait for it that long."""
        body = json.dumps(fields).encode()
        return self._ask(wire.Request("POST", f"/v1/snapshots/{_quote(verb)}", body), timeout_seconds)

    def follow_work(self, verb: str, fields: Mapping[str, Any], on_progress: Callable[[Document], None]) -> Document:
        """Have the agent do what a verb of snapshots asks for, and return what it answers; be told how far it is."""
        request = wire.Request(
            "POST",
            f"/v1/snapshots/{_quote(verb)}",
            json.dumps(fields).encode(),
            headers={"Accept": "text/event-stream"},
        )
        with self._connect() as connection:
            deadline = wire.Deadline(STATUS_SECONDS)
            status, begun = wire.send(connection, request, deadline)
            if status != HTTP_OK:
                raise _refusal(status, wire.read_body(connection, begun, deadline))
            kind = b""
            for line in wire.read_lines(connection, begun, STATUS_SECONDS):
                if line is None:
                    continue
                if line.startswith(b"event: "):
                    kind = line.removeprefix(b"event: ")
                elif line.startswith(b"data: "):
                    document = _parse_object(line.removeprefix(b"data: "))
                    if kind == b"outcome":
                        return document
                    if kind == b"refused":
                        raise _refusal(0, line.removeprefix(b"data: "))
                    on_progress(document)
        raise AgentUnresponsiveError(
            "the agent ended before this was done",
            hint="nothing is half done: its next start finishes or clears what was begun; then ask again",
        )

    def follow_events(self, *, timeout_seconds: float, after: int | None = None) -> Iterator[Document | None]:
        """Give the events as they happen, None each time that none has come for the timeout; end with the agent.

        Starts with the next event, or with the first one after number `after`.
        """
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        with self._connect() as connection:
            deadline = wire.Deadline(STATUS_SECONDS)
            status, begun = wire.send(connection, wire.Request("GET", "/v1/events", headers=headers), deadline)
            if status != HTTP_OK:
                raise _refusal(status, wire.read_body(connection, begun, deadline))
            for line in wire.read_lines(connection, begun, timeout_seconds):
                if line is None:
                    yield None
                elif line.startswith(b"data: "):
                    yield _parse_object(line.removeprefix(b"data: "))

    def _ask(self, request: wire.Request, timeout_seconds: float) -> Document:
        if timeout_seconds > STATUS_SECONDS:
            # What takes long must not be waited for of an agent that is stopped, or stuck.
            self._send(wire.Request("GET", "/"), STATUS_SECONDS)
        status, body = self._send(request, timeout_seconds)
        if status != HTTP_OK:
            raise _refusal(status, body)
        return _parse_object(body)

    def _send(self, request: wire.Request, timeout_seconds: float) -> tuple[int, bytes]:
        deadline = wire.Deadline(timeout_seconds)
        try:
            with self._connect() as connection:
                status, begun = wire.send(connection, request, deadline)
                return status, wire.read_body(connection, begun, deadline)
        except AgentSilentError as error:
            from hostk8s_agent.control.lock import find_lock_holder  # noqa: PLC0415 - status must start fast

            holder = find_lock_holder(self._workspace)
            if holder is None or not holder.pid:
                raise
            raise AgentSilentError(
                f"{error.message} ({holder})",
                hint=f"it is stopped, stuck, or the machine is very busy; to end it: kill -KILL {holder.pid} "
                "(the next start finishes or clears what it was at)",
            ) from error

    def _connect(self) -> socket.socket:
        denied: OSError | None = None
        for path in self._paths:
            try:
                return wire.connect(path)
            except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
                continue
            except OSError as error:
                denied = error
        if denied is not None:
            raise AgentUnresponsiveError(
                f"the agent's socket cannot be used ({denied.strerror})", hint="ask as the user whose agent it is"
            ) from denied
        self._refuse_unless_unlocked()
        raise AgentNotRunningError(
            f"no agent is running for {self._workspace.root}", hint="start it with: hostk8s-agent run"
        )

    def _refuse_unless_unlocked(self) -> None:
        """Tell an agent whose socket is elsewhere, or not there yet, from none: it holds the workspace's lock."""
        from hostk8s_agent.control.lock import find_lock_holder  # noqa: PLC0415 - status must start fast

        holder = find_lock_holder(self._workspace)
        if holder is not None:
            raise AgentUnresponsiveError(
                f"an agent runs for {self._workspace.root} ({holder}), but its socket is in none of "
                + ", ".join(str(path.parent) for path in self._paths),
                hint="if it has just been started, try again; else set XDG_RUNTIME_DIR to what the agent has",
            )


def _query(stack: str | None) -> str:
    return "" if stack is None else f"?stack={_quote(stack)}"


def _quote(name: str) -> str:
    """Percent-encode a stack's name, slashes kept (RFC 3986, 2.3 and 3.4); urllib.parse takes 8 ms to import."""
    return "".join(
        chr(byte) if byte in _UNQUOTED else f"%{byte:02X}" for byte in name.encode("utf-8", "surrogateescape")
    )


def _parse_object(body: bytes) -> Document:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise AgentUnresponsiveError(
            "the agent's answer cannot be understood: it is no JSON object, or not all of one",
            hint="try again; if it stays so, restart the agent",
        )
    return parsed


def _refusal(status: int, body: bytes) -> ControlError:
    try:
        words = _parse_object(body)
    except AgentUnresponsiveError:
        words = {}
    return RemoteError(
        code=str(words.get("code", ControlError.code)),
        message=str(words.get("message", f"the agent answered with HTTP status {status}")),
        hint=str(words.get("hint", "try again in a moment")),
        http_status=status,
    )
