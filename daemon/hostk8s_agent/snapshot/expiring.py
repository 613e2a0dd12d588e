"""Retention at work: what each stack's policy keeps of its snapshots, shown or carried out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.snapshot.retention import Verdict, find_suspect, judge_snapshots, list_expired

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hostk8s_agent.errors import Problem
    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.policies import PolicyInForce
    from hostk8s_agent.snapshot.service import SnapshotService

log = structlog.get_logger()

EXPIRED = "snapshot.expired"
EXPIRY_HELD = "snapshot.expiry_held"


@dataclass(frozen=True, slots=True)
class StackExpiry:
    """What becomes of one stack's snapshots, the newest first. `held` says why nothing of it expires, else empty."""

    stack: str
    held: str
    verdicts: tuple[Verdict, ...]


class Expiry:
    """Lets expire what the policies no longer keep. From any thread.

    `find_policy` returns what is in force for a stack, None for one that has no contract in force.
    """

    def __init__(
        self,
        service: SnapshotService,
        find_policy: Callable[[str], PolicyInForce | None],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._service = service
        self._find_policy = find_policy
        self._clock = clock

    def judge(self, stack: str | None = None) -> tuple[StackExpiry, ...]:
        """Return what would become of the snapshots of a stack (None: of each), sorted by stack. Changes nothing."""
        snapshots, problems = self._service.list(stack)
        return tuple(
            self._judge([one for one in snapshots if one.stack == name], problems, name)
            for name in sorted({one.stack for one in snapshots})
        )

    def expire(self, stack: str | None = None) -> tuple[StackExpiry, ...]:
        """Let expire what a stack's (None: each one's) policy does not keep; return what became of all."""
        names = sorted({one.stack for one in self._service.list(stack)[0]})
        return tuple(self._expire(name) for name in names)

    def _expire(self, stack: str) -> StackExpiry:
        judged: list[StackExpiry] = []

        def choose(snapshots: Sequence[SnapshotManifest], problems: Sequence[Problem]) -> Sequence[SnapshotManifest]:
            judged.append(self._judge(snapshots, problems, stack))
            return list_expired(judged[0].verdicts)

        # Judged under the repository's lock: what a person pins meanwhile must not go.
        for one in self._service.expire(stack, choose):
            log.info(EXPIRED, stack=stack, snapshot=one.id)
        if judged[0].held:
            log.warning(EXPIRY_HELD, stack=stack, reason=judged[0].held)
        return judged[0]

    def _judge(self, snapshots: Sequence[SnapshotManifest], problems: Sequence[Problem], stack: str) -> StackExpiry:
        policy = self._find_policy(stack)
        held = ""
        if problems:
            # One that cannot be read may be the newest good one.
            held = f"not every manifest of the repository can be trusted: {problems[0].message}"
        elif policy is None:
            held = "the stack has no contract in force that would say what to keep"
        if held or policy is None:
            ordered = sorted(snapshots, key=lambda one: (one.taken_at, one.id), reverse=True)
            return StackExpiry(stack, held, tuple(Verdict(one, (held,)) for one in ordered))
        verdicts = judge_snapshots(snapshots, policy.keep, self._clock(), policy.zone)
        suspect = find_suspect(one.snapshot for one in verdicts)
        return StackExpiry(stack, f"{suspect.id} is suspect" if suspect else "", verdicts)
