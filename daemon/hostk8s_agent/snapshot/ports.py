"""What capture asks of whoever brings a stack to rest: the only thing that it knows of pods and hooks."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hostk8s_agent.contract.model import Quiesce
from hostk8s_agent.snapshot.model import Consistency

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from hostk8s_agent.contract.model import Directory


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a stack was at rest until now. `note` says why it is less than was asked, else empty."""

    consistency: Consistency
    note: str = ""


class Rest(Protocol):
    """A stack that is at rest, as long as the deadline lets it."""

    def reached(self) -> Reached:
        """Return what was reached from the beginning until now: less than at first once a deadline has thawed it."""


class Quiescer(Protocol):
    """Brings the users of a stack's directories to rest while these are read."""

    def at_rest(self, stack: str, directories: Sequence[Directory], asked: Quiesce) -> AbstractContextManager[Rest]:
        """Bring them to rest, as far as it can be done; on leaving, in every case, wake them.

        What cannot be done is in `Rest.reached`, asked after the last byte was read and before leaving; nothing is
        raised for it.
        """


class NoQuiescer:
    """Brings nobody to rest: where no cluster is to be had, and for `quiesce: none`."""

    @contextmanager
    def at_rest(self, stack: str, directories: Sequence[Directory], asked: Quiesce) -> Iterator[Rest]:
        """Let everything go on."""
        del stack, directories
        yield _Live("" if asked is Quiesce.NONE else "there is no cluster whose pods could be brought to rest")


@dataclass(frozen=True, slots=True)
class _Live:
    note: str

    def reached(self) -> Reached:
        return Reached(Consistency.LIVE, self.note)
