"""Whether the restored trees fit beside the live ones."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.errors import RestoreSpaceError
from hostk8s_agent.volume.tree_access import TreeAccess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hostk8s_agent.snapshot.restoring import Replacement
    from hostk8s_agent.volume.access import VolumeAccess

_BYTES_AN_ENTRY: Final = 4096
"""What an entry takes at most besides its content, on the file systems that volumes lie on: a block."""


def require_space(access: VolumeAccess, replacements: Sequence[Replacement]) -> None:
    """Raise `RestoreSpaceError` when the trees need more than is free.

    Through the helper container the engine does not tell; there the disk itself says so, before anything is replaced.
    """
    sizes = [one.size for one in replacements]
    needed = sum(byte_count + entries * _BYTES_AN_ENTRY for entries, _, byte_count in sizes)
    free = _find_free(access, replacements)
    if free is not None and free < needed:
        raise RestoreSpaceError(
            f"the restored trees need {needed >> 20} MiB beside the live ones, and {free >> 20} MiB are free",
            hint="make space on the disk of the volume, or restore with --to DIR onto another one",
        )


def _find_free(access: VolumeAccess, replacements: Sequence[Replacement]) -> int | None:
    if not isinstance(access, TreeAccess):
        return None
    for one in replacements:
        if access.observe_directories([one.target.path])[0].kind == "directory":
            with access.open_directory(one.target.path) as descriptor:
                found = os.fstatvfs(descriptor)
                return found.f_bavail * found.f_frsize
    return None
