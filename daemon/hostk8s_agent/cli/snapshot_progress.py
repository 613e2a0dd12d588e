"""How far long work on snapshots is: a bar on a terminal, JSON lines with `-o json`; and what Ctrl-C leaves.

Both go to stderr: what a script reads from stdout stays one document.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from hostk8s_agent.cli.output import find_screen, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from hostk8s_agent.cli.output import OutputFormat
    from hostk8s_agent.control.ports import Snapshots
    from hostk8s_agent.snapshot.progress import Meter, Progress

Document = dict[str, Any]

# What Ctrl-C leaves of a work that the agent does.
_AGENT_GOES_ON: Final = {
    "create": "the agent goes on with the snapshot; hostk8s-agent snapshot list shows it once it is there",
    "verify": "the agent goes on with the reading; hostk8s-agent snapshot list shows what comes of it",
    "restore": "the agent goes on with the restore; hostk8s-agent events tells when it is done",
    "recover": "the agent goes on with the recovery; hostk8s-agent snapshot list shows what has come back",
}
# And of one that this process did, by what it was at.
_READING_BACK: Final = (
    "interrupted while it was read back: the snapshot is there, unverified; hostk8s-agent snapshot verify --all"
)
_SWAPPED_OR_NOT: Final = (
    "interrupted: each directory is wholly the old one or wholly the new one; "
    "the agent's next start, or the next restore, finishes what was begun"
)
_NO_FILE: Final = "interrupted: no file was written"
_ENDED_HERE: Final[dict[tuple[str, str], str]] = {
    ("create", "reading"): "interrupted: no snapshot was added",
    ("create", "verifying"): _READING_BACK,
    ("verify", "verifying"): "interrupted: what was read back by now is written down, the rest is as it was",
    **dict.fromkeys(
        (("restore", phase) for phase in ("waiting", "restoring", "reading", "verifying")),
        "interrupted: nothing was replaced",
    ),
    ("restore", "swapping"): _SWAPPED_OR_NOT,
    ("export", "reading"): _NO_FILE,
    ("export", "exporting"): _NO_FILE,
    ("copy", "exporting"): "interrupted: what is in the folder is not whole; remove it",
    ("import", "importing"): "interrupted: nothing was added",
    ("import", "verifying"): _READING_BACK,
    ("recover", "recovering"): "interrupted: what has come back by now is here; say it again for the rest",
}


class ProgressView:
    """Shows the documents of progress while it is open, as a context manager; what is over is wiped from a terminal."""

    def __init__(self, output: OutputFormat) -> None:
        self.phase = ""
        self._output = output
        self._bars: RichProgress | None = None
        self._bar: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, document: Mapping[str, Any]) -> None:
        """Show one."""
        is_next = document["phase"] != self.phase
        self.phase = document["phase"]
        if self._output == "json":
            say(json.dumps({"type": "progress", **document}, separators=(",", ":")))
        elif find_screen(sys.stderr).is_terminal:
            self._draw(document, is_next=is_next)

    def show_progress(self, progress: Progress) -> None:
        """The same, of a work that this process does."""
        from hostk8s_agent.status.model import render_json  # noqa: PLC0415 - with the work alone

        self.show(render_json(progress))

    def _draw(self, document: Mapping[str, Any], *, is_next: bool) -> None:
        bars = self._begin()
        rate, left = document["bytesPerSecond"], document["secondsLeft"]
        shown: dict[str, Any] = {
            "completed": document["doneBytes"],
            "total": document["totalBytes"],
            "rate": f"{rate / 1e6:.1f} MB/s" if rate else "",
            "left": "" if left is None else f"{left // 60}:{left % 60:02} left",
        }
        if self._bar is not None and not is_next:
            bars.update(self._bar, **shown)
            return
        if self._bar is not None:
            bars.remove_task(self._bar)
        self._bar = bars.add_task(document["phase"], **shown)

    def _begin(self) -> RichProgress:
        if self._bars is None:
            # 60 ms to import, which only who waits at a terminal pays.
            from rich import progress  # noqa: PLC0415
            from rich.console import Console  # noqa: PLC0415

            self._bars = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.DownloadColumn(),
                progress.TextColumn("{task.fields[rate]}"),
                progress.TextColumn("{task.fields[left]}"),
                console=Console(file=sys.stderr),
                transient=True,
            )
            self._bars.start()
        return self._bars


@contextmanager
def showing(verb: str, output: OutputFormat) -> Iterator[Meter]:
    """Give the meter of a work that this process does, and show it; on Ctrl-C say what is left, and raise that on."""
    from hostk8s_agent.snapshot.progress import Meter  # noqa: PLC0415 - with the work alone

    with ProgressView(output) as view:
        try:
            yield Meter(view.show_progress)
        except KeyboardInterrupt:
            view.__exit__()
            say(f"hostk8s-agent: {describe_interruption(verb, view.phase, is_agents=False)}")
            raise


def answer_showing(snapshots: Snapshots, verb: str, fields: Mapping[str, Any], output: OutputFormat) -> Document:
    """Have a verb answered while its progress is shown; on Ctrl-C say what is left of it, and raise that on."""
    with ProgressView(output) as view:
        try:
            return snapshots.answer(verb, fields, view.show)
        except KeyboardInterrupt:
            view.__exit__()
            say(f"hostk8s-agent: {describe_interruption(verb, view.phase, is_agents=snapshots.is_agents)}")
            raise


def describe_interruption(verb: str, phase: str, *, is_agents: bool) -> str:
    """Return what an interrupted work leaves; `phase` is empty before the first one."""
    if is_agents:
        return _AGENT_GOES_ON[verb]
    return _ENDED_HERE.get((verb, phase), "interrupted before anything was done")
