"""What the agent refuses to do with a directory, and why."""

from __future__ import annotations

from hostk8s_agent.errors import VolumeError


class PathWantedError(VolumeError):
    """A contract in force asks for the directory, for one in it, or for one that it lies in."""

    code = "PathWanted"


class PathInUseError(VolumeError):
    """A PersistentVolume leads to the directory, or a pod mounts it; or it is not known whether one does."""

    code = "PathInUse"


class NotAnOrphanError(VolumeError):
    """The path is no directory that a contract of this workspace once had."""

    code = "NotAnOrphan"


class PurgeUnsecuredError(VolumeError):
    """The snapshot before a purge failed, and nobody said that it may be done without one."""

    code = "PurgeUnsecured"
