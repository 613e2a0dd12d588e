"""The live resource: everything once, then what changes of it, for whoever shows it to people.

However many follow, the agent is looked at once for all of them, and while nobody follows it is not looked at.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hostk8s_agent.control.errors import AgentBusyError
from hostk8s_agent.control.rendering import (
    StatusRenderer,
    render_changes,
    render_frame,
    render_message,
    render_snapshot,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from hostk8s_agent.control.ports import ControlledAgent
    from hostk8s_agent.status.board import Event
    from hostk8s_agent.status.model import StackStatus

MAX_FOLLOWERS = 64
# What no change tells (Docker's and the watcher's state, the last scan) is seen this late; it bounds a stop, too.
LOOK_SECONDS = 1.0
# A burst of changes is one for whoever looks.
SETTLE_SECONDS = 0.05
KEEP_ALIVE_SECONDS = 15.0
# Who is this far behind begins anew: what it has missed would be more than everything.
MAX_UNREAD_MESSAGES = 32
# A new follower is shown this many of the events before.
RECENT_EVENTS = 200


class LiveResources:
    """`GET /v1/live`: server-sent events, `snapshot` first and then `changes`, and `alive` where there are none."""

    def __init__(self, agent: ControlledAgent, stopping: asyncio.Event) -> None:
        self._feed = _Feed(agent, stopping)

    def routes(self) -> list[Route]:
        """Return what is served."""
        return [Route("/v1/live", self._get_live)]

    async def _get_live(self, _request: Request) -> Response:
        if self._feed.followers >= MAX_FOLLOWERS:
            raise AgentBusyError(f"{MAX_FOLLOWERS} clients follow already", hint="close one of them")
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._feed.follow(), media_type="text/event-stream", headers=headers)


@dataclass(slots=True)
class _Seen:
    """One look at the agent: what the followers know then. `frame` is the status without its stacks, as JSON has it."""

    stacks: dict[str, StackStatus]
    frame: dict[str, object]
    sequence: int


class _Feed:
    """Looks at the agent while anybody follows. All of it runs on one event loop, but for the looks themselves."""

    def __init__(self, agent: ControlledAgent, stopping: asyncio.Event) -> None:
        self._agent = agent
        self._stopping = stopping
        self._renderer = StatusRenderer()
        self._queues: set[asyncio.Queue[bytes | None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._seen: _Seen | None = None
        self._limiter = anyio.CapacityLimiter(2)

    @property
    def followers(self) -> int:
        """How many follow."""
        return len(self._queues)

    async def follow(self) -> AsyncIterator[bytes]:
        """Give the messages for one follower, until it goes, falls behind, or the agent stops."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_UNREAD_MESSAGES)
        self._queues.add(queue)
        try:
            if self._looking is None:
                self._begun = asyncio.Event()
                self._looking = asyncio.ensure_future(self._look(self._begun))
            # What the last look saw, read after the queue is known: what later ones see comes by the queue.
            await self._begun.wait()
            if (seen := self._seen) is None:
                return
            yield await run_sync(self._render_snapshot, seen, abandon_on_cancel=True)
            while (message := await queue.get()) is not None:
                yield message
        finally:
            self._queues.discard(queue)
            if not self._queues and self._looking is not None:
                self._looking.cancel()
                self._looking = self._seen = None

    async def _look(self, begun: asyncio.Event) -> None:
        try:
            self._seen = await run_sync(self._observe, abandon_on_cancel=True)
            begun.set()
            await self._look_until_stopped(self._seen)
        finally:
            begun.set()
            for queue in self._queues:
                _end(queue)

    async def _look_until_stopped(self, seen: _Seen) -> None:
        revision, quiet_seconds = 0, 0.0
        while not self._stopping.is_set():
            before = revision
            revision = await run_sync(
                self._agent.wait_for_change, revision, LOOK_SECONDS, limiter=self._limiter, abandon_on_cancel=True
            )
            if revision != before:
                await asyncio.sleep(SETTLE_SECONDS)
            seen, message = await run_sync(self._render_changes, seen, abandon_on_cancel=True)
            self._seen = seen
            quiet_seconds = 0.0 if message else quiet_seconds + LOOK_SECONDS
            if quiet_seconds >= KEEP_ALIVE_SECONDS:
                quiet_seconds, message = 0.0, render_message("alive", b"{}")
            if message:
                self._send(message)

    def _send(self, message: bytes) -> None:
        for queue in tuple(self._queues):
            try:
                queue.put_nowait(message)
            except asyncio.QueueFull:
                self._queues.discard(queue)
                _end(queue)

    def _render_snapshot(self, seen: _Seen) -> bytes:
        events = self._agent.events_after(max(0, self._agent.last_event_sequence - RECENT_EVENTS), 0)
        status = self._renderer.render_document(seen.frame, tuple(seen.stacks.values()))
        return render_message("snapshot", render_snapshot(status, events))

    def _observe(self) -> _Seen:
        # The number before the look: an event in between is then told, and at worst twice.
        sequence = self._agent.last_event_sequence
        status = self._agent.status()
        return _Seen({stack.name: stack for stack in status.stacks}, render_frame(status), sequence)

    def _render_changes(self, seen: _Seen) -> tuple[_Seen, bytes]:
        events: tuple[Event, ...] = self._agent.events_after(seen.sequence, 0)
        now = self._observe()
        # A status is a frozen value that is replaced when it changes: another object is a change.
        changed = [stack for name, stack in now.stacks.items() if seen.stacks.get(name) is not stack]
        removed = [name for name in seen.stacks if name not in now.stacks]
        frame = now.frame if now.frame != seen.frame else None
        now.sequence = events[-1].sequence if events else seen.sequence
        if not (changed or removed or events or frame):
            return now, b""
        stacks = self._renderer.render_stacks(changed)
        return now, render_message("changes", render_changes(frame, stacks, removed, events))


def _end(queue: asyncio.Queue[bytes | None]) -> None:
    """Have the follower of the queue end, whatever it has not read."""
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(None)
