"""The way in for root on the engine's own machine: the volume's mountpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from hostk8s_agent.volume.tree import DirectoryTree
from hostk8s_agent.volume.tree_access import ReportLoss, TreeAccess

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.volume.access import AccessKind


class DirectAccess(TreeAccess):
    """The volume through its mountpoint on this machine.

    `mountpoint` is the engine's word (`/var/lib/docker/volumes/NAME/_data`); the caller has made sure that it is
    the volume (see `choosing`). Raises `VolumeGoneError` when it does not exist; it is never made here.
    """

    _kind: ClassVar[AccessKind] = "direct"

    def __init__(self, mountpoint: Path, *, report_loss: ReportLoss = lambda _: None) -> None:
        super().__init__(DirectoryTree(mountpoint, may_set_owner=True), may_set_owner=True, report_loss=report_loss)
