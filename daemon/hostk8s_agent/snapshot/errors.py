"""What can go wrong with snapshots.

```
AgentError
└── SnapshotError                 a request about snapshots that failed
    ├── RepositoryUnusableError       its folder cannot be made, read or written
    ├── RepositoryNewerError          a newer agent wrote it
    ├── RepositoryLockedError         another process works on it                     retryable
    ├── RepositoryFullError           no space left where it lies                     retryable
    ├── EngineUnknownError            an archive is kept by an engine that is not set up
    ├── SnapshotUnknownError          no snapshot is meant by these words
    ├── SnapshotAmbiguousError        more than one is
    ├── SnapshotPinnedError           a person has said that it is to stay
    ├── SnapshotDamagedError          what was read back is not what was written
    ├── ManifestForgedError           a manifest that is not what its id stands for
    ├── ManifestMissingError          a manifest that was written is not there any more
    ├── ManifestDuplicateError        a manifest under another one's name
    ├── ManifestFromFutureError       a manifest dated after now
    ├── ArchiveRefusedError           an archive that would write outside its directory, or has no end
    ├── SnapshotStoppedError          the agent ends, and work on snapshots with it      retryable
    ├── CaptureFailedError            a directory could not be read whole             retryable
    ├── DirectoryMissingError         a directory of the contract does not exist yet  retryable
    ├── RestoreUnfitError             the contract and the snapshot do not fit
    ├── RestoreSpaceError             not enough space for the restored tree beside the live one
    ├── RestoreFailedError            the restored tree could not be written, or is not what was snapshotted
    ├── TargetInUseError              a pod uses what is to be replaced
    ├── BundleRefusedError            a file that holds no snapshot, or not all of one
    ├── NothingToUndoError            no restore of the stack can be undone
    ├── ResticMissingError            no restic is installed, or an old one
    ├── ResticPasswordUnusableError   nothing that could be used says what the password is
    ├── ResticPasswordWrongError      the restic repository has another password
    ├── ResticRepositoryMissingError  no restic repository is where the settings say, or another one
    ├── ResticUnreachableError        the restic repository cannot be reached now         retryable
    ├── ResticRefusedError            where the restic repository lies, access is denied
    └── ResticFailedError             restic failed with words of its own
```
"""

from __future__ import annotations

from hostk8s_agent.errors import AgentError


class SnapshotError(AgentError):
    """A request about snapshots that failed."""

    code = "SnapshotError"


class RepositoryUnusableError(SnapshotError):
    """The repository's folder cannot be made, read or written."""

    code = "RepositoryUnusable"


class RepositoryNewerError(SnapshotError):
    """A newer agent wrote the repository."""

    code = "RepositoryNewer"


class RepositoryLockedError(SnapshotError):
    """Another process works on the repository."""

    code = "RepositoryLocked"
    retryable = True


class RepositoryFullError(SnapshotError):
    """No space is left where the repository lies."""

    code = "RepositoryFull"
    retryable = True


class EngineUnknownError(SnapshotError):
    """An archive is kept by an engine that is not set up."""

    code = "EngineUnknown"


class SnapshotUnknownError(SnapshotError):
    """No snapshot is meant by these words."""

    code = "SnapshotUnknown"


class SnapshotAmbiguousError(SnapshotError):
    """More than one snapshot is meant by these words."""

    code = "SnapshotAmbiguous"


class SnapshotPinnedError(SnapshotError):
    """A person has said that this snapshot is to stay."""

    code = "SnapshotPinned"


class SnapshotDamagedError(SnapshotError):
    """What was read back is not what was written."""

    code = "SnapshotDamaged"


class ManifestForgedError(SnapshotError):
    """A manifest is not what its id stands for: it was changed after it was written."""

    code = "ManifestForged"


class ManifestMissingError(SnapshotError):
    """A manifest that was written is not there any more, and nobody asked for it to go."""

    code = "ManifestMissing"


class ManifestDuplicateError(SnapshotError):
    """A manifest lies under another one's name."""

    code = "ManifestDuplicate"


class ManifestFromFutureError(SnapshotError):
    """A manifest is dated after now."""

    code = "ManifestFromFuture"


class ArchiveRefusedError(SnapshotError):
    """An archive would write outside its directory, holds what no directory holds, or has no end."""

    code = "ArchiveRefused"


class SnapshotStoppedError(SnapshotError):
    """The agent ends: what was under way is undone, and taken up again by the next one."""

    code = "SnapshotStopped"
    retryable = True


class CaptureFailedError(SnapshotError):
    """A directory could not be read whole."""

    code = "CaptureFailed"
    retryable = True


class DirectoryMissingError(SnapshotError):
    """A directory of the contract does not exist yet."""

    code = "DirectoryMissing"
    retryable = True


class RestoreUnfitError(SnapshotError):
    """The contract and the snapshot do not fit."""

    code = "RestoreUnfit"


class RestoreSpaceError(SnapshotError):
    """There is not enough space for the restored tree beside the live one."""

    code = "RestoreSpace"


class RestoreFailedError(SnapshotError):
    """The restored tree could not be written, or is not what was snapshotted."""

    code = "RestoreFailed"


class TargetInUseError(SnapshotError):
    """A pod uses what is to be replaced."""

    code = "TargetInUse"


class BundleRefusedError(SnapshotError):
    """A file holds no snapshot, or not all of one."""

    code = "BundleRefused"


class NothingToUndoError(SnapshotError):
    """No restore of the stack can be undone."""

    code = "NothingToUndo"


class ResticMissingError(SnapshotError):
    """The settings name a restic repository, and no restic is installed, or one that is too old."""

    code = "ResticMissing"


class ResticPasswordUnusableError(SnapshotError):
    """Nothing says what the restic repository's password is, or what says it cannot be used."""

    code = "ResticPasswordUnusable"


class ResticPasswordWrongError(SnapshotError):
    """The restic repository has another password."""

    code = "ResticPasswordWrong"


class ResticRepositoryMissingError(SnapshotError):
    """No restic repository is where the settings say, or another one than the snapshot lies in."""

    code = "ResticRepositoryMissing"


class ResticUnreachableError(SnapshotError):
    """The restic repository cannot be reached now, or has stopped to answer."""

    code = "ResticUnreachable"
    retryable = True


class ResticRefusedError(SnapshotError):
    """Where the restic repository lies, access is denied."""

    code = "ResticRefused"


class ResticFailedError(SnapshotError):
    """restic failed with words of its own."""

    code = "ResticFailed"
