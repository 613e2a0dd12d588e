"""What can go wrong with Docker, the volume and a directory in it.

```
VolumeError
├── EngineUnreachableError    nothing answers at the endpoint                        retryable
├── EngineFailedError         the engine answered with an error of its own           retryable
├── EngineChangedError        another engine answers behind the endpoint
├── EndpointRefusedError      the endpoint is one that the agent does not talk to
├── ContextUnknownError       the chosen Docker context does not exist or is broken
├── VolumeGoneError           the volume was removed, or is another one now          retryable
├── VolumeLostError           the volume that held the workspace's data is gone      retryable
├── HolderAliveError          another workspace holds the path, and its agent lives
├── AccessImpossibleError     the way in that the settings force cannot be used
├── HelperGoneError           the helper container was removed by someone            retryable
├── AccessClosedError         the way in was given up meanwhile                      retryable
├── PathOutsideVolumeError    a path that does not lie in the volume
├── PathObstructedError       no directory stands where one belongs
├── DirectoryGoneError        a directory went away before it could be changed       retryable
├── DirectoryUnreadableError  a directory cannot be read
├── DiskFullError             no space or no inode left                              retryable
├── ReadOnlyError             the file system is mounted read-only
├── PermissionDeniedError     the operating system refused
├── OwnerNotPermittedError    only root may give a directory to someone else
├── ModeNotPermittedError     the operating system dropped a bit of the mode
├── PathOccupiedError         something stands where a directory is to be moved to
├── NotInTrashError           nothing in the trash came from that path
├── ToolMissingError          nothing at hand can rename, remove or measure a directory
├── ToolFailedError           a tool that was run on the volume failed
├── ExchangeImpossibleError   two directories cannot change places in one step here
├── StreamStalledError        a stream brought no byte for too long                  retryable
├── NodeGoneError             a node's container was removed                         retryable
├── NodeStoppedError          a node's container does not run                        retryable
├── CommandTooLongError       a command in a node does not come to an end            retryable
└── TarRefusedError           a tar stream that is cut, broken or hostile
```
"""

from __future__ import annotations

from hostk8s_agent.errors import VolumeError


class EngineUnreachableError(VolumeError):
    """Nothing answers at the Docker endpoint, or not in time."""

    code = "EngineUnreachable"
    retryable = True


class EngineFailedError(VolumeError):
    """The Docker engine answered, with an error that is its own."""

    code = "EngineFailed"
    retryable = True


class EngineChangedError(VolumeError):
    """Behind the endpoint answers another engine than the one that this process began with."""

    code = "EngineChanged"


class EndpointRefusedError(VolumeError):
    """The endpoint is one that the agent does not talk to: remote, or of a kind that it does not know."""

    code = "EndpointRefused"


class ContextUnknownError(VolumeError):
    """The chosen Docker context does not exist, or its file cannot be read."""

    code = "ContextUnknown"


class VolumeGoneError(VolumeError):
    """The volume was removed while the agent used it; what has its name now, if anything, is another one."""

    code = "VolumeGone"
    retryable = True


class VolumeLostError(VolumeError):
    """The volume that held this workspace's data is gone: a person decides, and nothing is made in its place."""

    code = "VolumeLost"
    retryable = True


class HolderAliveError(VolumeError):
    """Another workspace holds the path, and its agent was heard of not long ago."""

    code = "HolderAlive"


class AccessImpossibleError(VolumeError):
    """The way into the volume that the settings force cannot be used here."""

    code = "AccessImpossible"


class HelperGoneError(VolumeError):
    """The helper container was removed by someone. Never leaves this package: a new one is made."""

    code = "HelperGone"
    retryable = True


class AccessClosedError(VolumeError):
    """This way into the volume was given up, because the connection was lost or the agent stops."""

    code = "AccessClosed"
    retryable = True


class PathOutsideVolumeError(VolumeError):
    """A path that does not lie in the volume, or is not clean."""

    code = "PathOutsideVolume"


class PathObstructedError(VolumeError):
    """No directory stands where one belongs: `kind` says what does."""

    code = "PathObstructed"


class DirectoryGoneError(VolumeError):
    """A directory went away between the observation and the action."""

    code = "DirectoryGone"
    retryable = True


class DirectoryUnreadableError(VolumeError):
    """A directory in the volume cannot be read, for a reason that the message gives."""

    code = "DirectoryUnreadable"


class DiskFullError(VolumeError):
    """No space, no inode or no quota is left where the volume lies."""

    code = "DiskFull"
    retryable = True


class ReadOnlyError(VolumeError):
    """The file system that the volume lies on is mounted read-only."""

    code = "ReadOnly"


class PermissionDeniedError(VolumeError):
    """The operating system or the engine refused."""

    code = "PermissionDenied"


class OwnerNotPermittedError(VolumeError):
    """Only root may give a directory to another user."""

    code = "OwnerNotPermitted"


class ModeNotPermittedError(VolumeError):
    """The operating system silently dropped a bit of the mode (setgid for a group that we are not in)."""

    code = "ModeNotPermitted"


class PathOccupiedError(VolumeError):
    """Something stands already where a directory is to be moved to."""

    code = "PathOccupied"


class NotInTrashError(VolumeError):
    """Nothing in the trash came from that path, or has that ID."""

    code = "NotInTrash"


class ToolMissingError(VolumeError):
    """Nothing at hand can rename, remove or measure a directory: the engine has no image of a node of the cluster."""

    code = "ToolMissing"


class ToolFailedError(VolumeError):
    """A tool that was run on the volume for a moment failed, or did not end in time."""

    code = "ToolFailed"


class ExchangeImpossibleError(VolumeError):
    """Two directories cannot change places in one step: the system or the file system does not know how."""

    code = "ExchangeImpossible"


class StreamStalledError(VolumeError):
    """A stream from or to the engine brought no byte for too long."""

    code = "StreamStalled"
    retryable = True


class NodeGoneError(VolumeError):
    """The container of a cluster's node was removed."""

    code = "NodeGone"
    retryable = True


class NodeStoppedError(VolumeError):
    """The container of a cluster's node does not run, or is paused."""

    code = "NodeStopped"
    retryable = True


class CommandTooLongError(VolumeError):
    """A command in a node's container takes too long, or says too much."""

    code = "CommandTooLong"
    retryable = True


class TarRefusedError(VolumeError):
    """A tar stream that is cut, broken, or would write outside the directory that it is extracted into."""

    code = "TarRefused"


def build_obstructed_error(kind: str, obstacle: str) -> PathObstructedError:
    """Return the error for an obstacle (a contract's path), `kind` being what stands there."""
    article = "an" if kind[:1] in "aeiou" else "a"
    thing = "something that is neither a file nor a directory" if kind == "other" else f"{article} {kind}"
    return PathObstructedError(
        f"{thing} stands at {obstacle}, where a directory belongs",
        hint="look at it and move it away: the agent follows no link and removes nothing that it finds in the volume",
    )
