"""The stand-in for a machine without Docker: a folder of the workspace."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from hostk8s_agent.volume.tree import DirectoryTree
from hostk8s_agent.volume.tree_access import ReportLoss, TreeAccess

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.volume.access import AccessKind


class HostDirectoryAccess(TreeAccess):
    """The folder `data/pv` of the workspace in the volume's place. It is made when the first directory is.

    An ordinary user cannot give directories away. Then a new directory and its parents belong to that user,
    whatever is declared, their mode is set, and `may_set_owner` is False so that the owner is not held for drift; a
    change of owner
    that is asked for all the same fails with `OwnerNotPermittedError`.
    """

    _kind: ClassVar[AccessKind] = "host-directory"

    def __init__(self, folder: Path, *, report_loss: ReportLoss = lambda _: None) -> None:
        may_set_owner = os.geteuid() == 0
        super().__init__(
            DirectoryTree(folder, may_set_owner=may_set_owner, creates_root=True),
            may_set_owner=may_set_owner,
            report_loss=report_loss,
        )
