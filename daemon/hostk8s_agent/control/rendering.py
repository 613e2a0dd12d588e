"""What the socket says, as JSON: statuses, plans, events, problems."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hostk8s_agent.plan.actions import Action, BlockedAction, ChangeDirectory, CreateDirectory, Plan
from hostk8s_agent.status.model import API_VERSION, AgentStatus, StackStatus, render_agent_status, render_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hostk8s_agent.errors import AgentError, Problem
    from hostk8s_agent.status.board import Event


class StatusRenderer:
    """Renders the whole status, each stack only when it has changed. Thread-safe.

    5,000 stacks take some 300 ms to render and 2 ms to put together, and whoever watches asks each second.
    A status is a frozen value that is replaced when it changes, so that the same object means the same text.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rendered: dict[str, tuple[StackStatus, bytes]] = {}

    def render(self, status: AgentStatus) -> bytes:
        """Return the document of `/v1/status` as JSON."""
        return self.render_document(render_frame(status), status.stacks)

    def render_document(self, frame: dict[str, Any], stacks: Sequence[StackStatus]) -> bytes:
        """Return the same, given what `render_frame` returns and all stacks."""
        parts = [self._render_stack(stack) for stack in stacks]
        self._forget_all_but(stacks)
        return b'%s,"stacks":[%s]}' % (_dump(frame)[:-1], b",".join(parts))

    def render_stacks(self, stacks: Iterable[StackStatus]) -> bytes:
        """Return the stacks as a JSON list."""
        return b"[%s]" % b",".join(map(self._render_stack, stacks))

    def _render_stack(self, stack: StackStatus) -> bytes:
        with self._lock:
            known = self._rendered.get(stack.name)
        if known is not None and known[0] is stack:
            return known[1]
        text = _dump(render_json(stack))
        with self._lock:
            self._rendered[stack.name] = (stack, text)
        return text

    def _forget_all_but(self, stacks: Sequence[StackStatus]) -> None:
        with self._lock:
            if len(self._rendered) > len(stacks):
                names = {stack.name for stack in stacks}
                self._rendered = {name: known for name, known in self._rendered.items() if name in names}


def render_frame(status: AgentStatus) -> dict[str, Any]:
    """Return the whole status but for the stacks, as JSON has it; never empty."""
    frame = render_agent_status(replace(status, stacks=()))
    del frame["stacks"]
    return frame


def render_stacks(stacks: tuple[StackStatus, ...]) -> dict[str, Any]:
    """Return the answer to a reconcile: the statuses of the stacks that were asked for."""
    return {"apiVersion": API_VERSION, "stacks": render_json(stacks)}


def render_plans(plans: tuple[Plan, ...]) -> dict[str, Any]:
    """Return the document of `/v1/plan` and `hostk8s-agent plan -o json`."""
    return {"apiVersion": API_VERSION, "plans": [_render_plan(plan) for plan in plans]}


def render_problem(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON has it everywhere: code, message, hint, file, line and column."""
    rendered: dict[str, Any] = render_json(problem)
    return rendered


def render_error(error: AgentError) -> bytes:
    """Return the body of an answer that says what went wrong."""
    return _dump({"code": error.code, "message": error.message, "hint": error.hint})


def render_event(event: Event) -> bytes:
    """Return one server-sent event (HTML standard, 9.2): id, type, and the whole event as JSON in its data."""
    # JSON has no raw line ends, so that one data line holds it whatever a message says.
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event.sequence,
        "".join(event.type.split()).encode(),
        _dump(render_json(event)),
    )


def render_message(kind: str, document: bytes) -> bytes:
    """Return one server-sent event without a number: its type, and JSON in its data."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), document)


def render_snapshot(status: bytes, events: Sequence[Event]) -> bytes:
    """Return what a follower of `/v1/live` is told first: the whole status document, with the recent events in it."""
    return b'%s,"events":%s}' % (status[:-1], _dump(render_json(tuple(events))))


def render_changes(
    frame: dict[str, object] | None, stacks: bytes, removed: Sequence[str], events: Sequence[Event]
) -> bytes:
    """Return what has changed since: the status without its stacks (None: nothing of it), and the stacks that did."""
    return b'{"frame":%s,"stacks":%s,"removed":%s,"events":%s}' % (
        _dump(frame),
        stacks,
        _dump(removed),
        _dump(render_json(tuple(events))),
    )


def _render_plan(plan: Plan) -> dict[str, Any]:
    return {
        "stack": plan.stack,
        "actions": [_render_action(action) for action in (*plan.directories, *plan.objects, *plan.prunes)],
        "blocked": [_render_blocked(blocked) for blocked in plan.blocked],
        "informed": render_json(plan.informed),
        "invalid": render_json(plan.invalid),
    }


def _render_action(action: Action) -> dict[str, Any]:
    if isinstance(action, (CreateDirectory, ChangeDirectory)):
        subject, declared = action.path, {"owner": f"{action.uid}:{action.gid}", "permissions": f"{action.mode:o}"}
    else:
        subject, declared = f"{action.key.kind}/{action.key.name}", {}
    drift = () if isinstance(action, CreateDirectory) else action.drift
    return {
        "kind": type(action).__name__,
        "subject": subject,
        "reason": action.reason,
        "drift": render_json(drift),
        **declared,
    }


def _render_blocked(blocked: BlockedAction) -> dict[str, Any]:
    return {
        "subject": blocked.subject,
        "reason": blocked.problem.message,
        "isWaiting": blocked.is_waiting,
        "problem": render_problem(blocked.problem),
        "drift": render_json(blocked.drift),
    }


def _dump(value: object) -> bytes:
    # Bytes of a file name that are no UTF-8 have no encoding: as \udc80 they pass, and json reads them back.
    return json.dumps(value, separators=(",", ":"), default=str).encode()
