"""Event snapshots: one directory, before something dangerous happens to it or to what leads there.

The contract may not have the directory any more, or be gone; what it was called is then known from earlier snapshots.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.contract.model import Directory
from hostk8s_agent.contract.naming import DNS_LABEL_PATTERN
from hostk8s_agent.contract.reporting import START
from hostk8s_agent.contract.values import Owner
from hostk8s_agent.snapshot.model import TAG_BEFORE_PRUNE, TAG_BEFORE_PURGE
from hostk8s_agent.snapshot.requests import CreateRequest
from hostk8s_agent.status.orphans import Secured
from hostk8s_agent.volume.access import TreeSize

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.snapshot.policies import PolicyInForce
    from hostk8s_agent.snapshot.service import SnapshotService
    from hostk8s_agent.status.orphans import Danger
    from hostk8s_agent.volume.access import VolumeAccess

log = structlog.get_logger()

SECURED = "snapshot.secured"

_TAGS: dict[Danger, str] = {"purge": TAG_BEFORE_PURGE, "prune": TAG_BEFORE_PRUNE}
_LABEL = re.compile(DNS_LABEL_PATTERN)
_UNNAMED = "data"


class Securing:
    """Takes event snapshots. Implements `SecureDirectory`; from any thread.

    `find_policy` returns what is in force for a stack, the default for one without a contract.
    """

    def __init__(
        self,
        service: SnapshotService,
        reach_volume: Callable[[], VolumeAccess],
        find_policy: Callable[[str], PolicyInForce],
    ) -> None:
        self._service = service
        self._reach_volume = reach_volume
        self._find_policy = find_policy

    def __call__(self, stack: str, path: str, danger: Danger, name: str = "") -> Secured:
        """Return what holds the directory's data. Raises the `AgentError` that says why there is no snapshot."""
        if self._find_policy(stack).schedule is None:
            return Secured(reason="snapshots are off")
        access = self._reach_volume()
        seen = access.observe_directories([path])[0]
        if seen.kind == "absent":
            return Secured(reason="the directory is gone")
        (size,) = access.measure_trees([path])
        # What cannot be measured is no proof that nothing is there.
        if isinstance(size, TreeSize) and not size.entries:
            return Secured(reason="the directory is empty")
        directory = Directory(
            name=name or self._recall_name(stack, path),
            path=path,
            size="",
            size_bytes=0,
            access_modes=(),
            storage_class="",
            owner=Owner(seen.uid or 0, seen.gid or 0),
            permissions=seen.mode or 0,
            position=START,
            path_position=START,
        )
        snapshot = self._service.create(CreateRequest(stack, tags=(_TAGS[danger],), orphan=directory))
        log.info(SECURED, stack=stack, path=path, danger=danger, snapshot=snapshot.id)
        return Secured(snapshot.id)

    def _recall_name(self, stack: str, path: str) -> str:
        for snapshot in reversed(self._service.list(stack)[0]):
            for one in snapshot.directories:
                if one.path == path:
                    return one.name
        last = path.rpartition("/")[2]
        return last if _LABEL.fullmatch(last) else _UNNAMED
