"""What capture asks of whoever brings a stack to rest: the only thing that it knows of pods and hooks."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from hostk8s_agent.contract.model import Quiesce
from hostk8s_agent.snapshot.model import Consistency

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from hostk8s_agent.contract.model import Contract, Directory


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


StopWay = Literal["", "freeze", "scale-down"]
"""How the users of a stack's directories are stopped while these are replaced; empty: not at all."""


class Stopped(Protocol):
    """The users of a stack's directories, stopped."""

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know, asked after all were let go on."""

    def require(self) -> Reached:
        """Return how far all were at rest from the beginning until now. Raises `TargetInUseError` unless they were."""

    def hold(self) -> None:
        """Say that the directories are replaced from now on, which takes a moment. Raises as `require` does."""

    def release(self) -> None:
        """Say that they are replaced. Without it, and after `hold`, `Stopper.recover` lets the users go on."""


class Stopper(Protocol):
    """Stops the users of a stack's directories while these are replaced."""

    def explain(self, contract: Contract, way: StopWay, *, is_part: bool) -> tuple[str, ...]:
        """Return what would be done to whom, in words. Raises `TargetInUseError` where that way cannot be gone.

        `is_part` says that not the directories are replaced but something in them.
        """

    def stopped(self, contract: Contract, way: StopWay, *, is_part: bool) -> AbstractContextManager[Stopped]:
        """Stop them; let them go on when the block ends, in every case. Raises the `AgentError` of why not."""

    def has_left(self) -> bool:
        """Whether somebody is stopped still after a crash, or because the cluster was away."""

    def recover(self) -> list[str]:
        """Let those go on; return what a person should know."""


class NoStopper:
    """Stops nobody: where no cluster is to be had. Implements `Stopper`."""

    def explain(self, contract: Contract, way: StopWay, *, is_part: bool) -> tuple[str, ...]:
        """Nothing is done."""
        del contract, way, is_part
        return ()

    @contextmanager
    def stopped(self, contract: Contract, way: StopWay, *, is_part: bool) -> Iterator[Stopped]:
        """Let everything go on."""
        del contract, way, is_part
        yield _Live("")

    def has_left(self) -> bool:
        """Nobody is stopped."""
        return False

    def recover(self) -> list[str]:
        """Nobody is stopped."""
        return []


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

    @property
    def notes(self) -> Sequence[str]:
        return ()

    def reached(self) -> Reached:
        return Reached(Consistency.LIVE, self.note)

    def require(self) -> Reached:
        return self.reached()

    def hold(self) -> None:
        return

    def release(self) -> None:
        return
