"""Which source of events this operating system has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hostk8s_agent.watch.events import EventSink, EventSource


def open_native_source(root: str, sink: EventSink) -> EventSource:
    """Open inotify on Linux, watchdog's observer (FSEvents on macOS) elsewhere.

    The modules are imported here because watchdog's inotify module cannot be imported where there is none.

    Raises:
        OSError: the system gives no subscription, or the folder is gone.
    """
    if sys.platform == "linux":
        from hostk8s_agent.watch.inotify import InotifySource  # noqa: PLC0415  # absent on other systems

        return InotifySource(root, sink)
    from hostk8s_agent.watch.observer import ObserverSource  # noqa: PLC0415  # the same, for loading time

    return ObserverSource(root, sink)
