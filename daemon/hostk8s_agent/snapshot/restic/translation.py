"""What restic says when it fails, as an error of ours with what to do. By its exit code where it has one (0.17)."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.errors import (
    RepositoryFullError,
    RepositoryLockedError,
    ResticFailedError,
    ResticPasswordUnusableError,
    ResticPasswordWrongError,
    ResticRefusedError,
    ResticRepositoryMissingError,
    ResticUnreachableError,
    SnapshotDamagedError,
)

if TYPE_CHECKING:
    from hostk8s_agent.snapshot.errors import SnapshotError

_MAX_WORDS: Final = 300

# https://restic.readthedocs.io/en/stable/075_scripting.html#exit-codes
_OF_CODE: Final[dict[int, type[SnapshotError]]] = {
    10: ResticRepositoryMissingError,
    11: RepositoryLockedError,
    12: ResticPasswordWrongError,
}

_UNREACHABLE: Final = (
    r"connection refused|no such host|i/o timeout|network is unreachable|no route to host|connection reset"
    r"|timed out|handshake timeout|context deadline exceeded|bad gateway|service unavailable"
    r"|server misbehaving|\(50[0234]\)|unable to start the sftp session|connection closed|broken pipe|: EOF$"
)
_REFUSED: Final = (
    r"\(40[13]\)|40[13] (unauthorized|forbidden)|access ?denied|permission denied|read-only file system"
    r"|InvalidAccessKey|SignatureDoesNotMatch|operation not permitted"
)

_SSH: Final = "subprocess ssh: "

# Numbers only with what stands beside them: a folder may be called 401.
# The first that fits: restic adds "Is there a repository at the following location?" to whatever kept it from the file.
_OF_WORDS: Final[tuple[tuple[str, type[SnapshotError]], ...]] = (
    (r"wrong password or no key found", ResticPasswordWrongError),
    (r"resolving password failed|empty password|password.{0,20}does not exist", ResticPasswordUnusableError),
    (r"repository is already locked", RepositoryLockedError),
    (r"no space left on device|quota exceeded|insufficient storage|\(507\)", RepositoryFullError),
    # restic itself says of whatever ended ssh that the session could not be started.
    (rf"^{_SSH}.*(permission denied|host key verification failed|too many authentication)", ResticRefusedError),
    (_UNREACHABLE, ResticUnreachableError),
    (_REFUSED, ResticRefusedError),
    (r"is there a repository at|unable to open config file|bucket does not exist", ResticRepositoryMissingError),
)
_DAMAGE: Final = (
    r"ciphertext verification failed|no matching id found|invalid data returned|not found in (index|repository)"
    r"|<(data|index|snapshot)/.*(no such file|does not exist|not exist|NoSuchKey|404)|hash mismatch|wrong (hash|length)"
    r"|does not match|unexpected EOF|ReadFull|unable to load|no such file or directory"
)
_HINTS: Final[dict[type[SnapshotError], str]] = {
    ResticPasswordWrongError: "mend what snapshot_restic_password_file or snapshot_restic_password_command gives",
    ResticPasswordUnusableError: "run the command, or look at the file, as the agent's user; docs/snapshots.md",
    RepositoryLockedError: "try again when that is done; a lock whose holder is dead is removed by itself",
    RepositoryFullError: "make space where the restic repository lies, or let snapshots expire: snapshot expire",
    ResticUnreachableError: "nothing was committed; what is due is tried again by itself once it can be reached",
    ResticRefusedError: "look at the credentials in snapshot_restic_environment_file, at the agent's ssh key and the "
    "known hosts, or at the folder's mode",
    ResticRepositoryMissingError: "look whether the disk is mounted and snapshot_restic_repository is right",
    ResticFailedError: "try the same by hand: docs/snapshots.md says how restic is called",
    SnapshotDamagedError: "restore from another snapshot: hostk8s-agent snapshot list shows them",
}


def translate_failure(attempt: str, code: int, lines: list[str], *, is_reading: bool = False) -> SnapshotError:
    """Return the error for a restic that ended with `code` after these (redacted) lines.

    `is_reading` says that archives were read, which alone can show that one is damaged.
    """
    lines = [_read_words(line) for line in lines]
    text = "\n".join(lines)
    kind = _OF_CODE.get(code)
    if kind is None:
        kind = next((one for words, one in _OF_WORDS if re.search(words, text, re.IGNORECASE | re.MULTILINE)), None)
    if is_reading and kind is None and re.search(_DAMAGE, text, re.IGNORECASE):
        kind = SnapshotDamagedError
    kind = kind or ResticFailedError
    return kind(f"restic could not {attempt}: {_choose_words(lines) or f'it ended with {code}'}", hint=_HINTS[kind])


def _read_words(line: str) -> str:
    """Return what a line says: with `--json` restic 0.17 and later wrap errors (`message`, or `error.message`)."""
    with suppress(ValueError, AttributeError):
        document = json.loads(line)
        found = document.get("message") or (document.get("error") or {}).get("message")
        return str(found or line)
    return line


def _choose_words(lines: list[str]) -> str:
    """Return the line that says most: what ended ssh, the one after `Fatal:`, else the last that is no advice."""
    ssh = [line.removeprefix(_SSH) for line in lines if line.startswith(_SSH)]
    if ssh and any("sftp session" in line for line in lines):
        return _cut(f"ssh: {ssh[-1]}")
    told = [line for line in lines if line.startswith("Fatal:")] or [
        line for line in lines if "retrying after" in line or "already locked" in line
    ]
    return _cut((told or lines or [""])[-1].removeprefix("Fatal:").strip())


def _cut(words: str) -> str:
    return words if len(words) <= _MAX_WORDS else f"{words[:_MAX_WORDS]}..."
