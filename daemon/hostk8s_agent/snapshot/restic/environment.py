"""What restic is started with: the repository and the way to its password. No secret is ever on a command line.

restic gets the password itself, from the file or the command that its environment names: it never passes through us.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from hostk8s_agent.snapshot.errors import ResticPasswordUnusableError

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from hostk8s_agent.settings import Settings

CREDENTIAL_NAME: Final = "restic-password"
"""The name of systemd's credential: `LoadCredential=restic-password:/etc/...` (systemd.exec(5))."""

# For ssh, for a password command, for certificates; nothing else of ours.
_KEPT = ("PATH", "HOME", "USER", "TMPDIR", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_MIN_SECRET_LENGTH = 4
_MAX_FILE_BYTES = 1 << 16
_LINE = re.compile(r"^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$")
# Up to the last @ before the path: a password may have one.
_URL_PASSWORD = re.compile(r"(://[^/@\s:]*):[^/\s]*@")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class ResticPlace:
    """Where the restic repository is, and how it is opened: what the settings say."""

    repository: str
    password_file: Path | None = None
    password_command: str = ""
    environment_file: Path | None = None

    @classmethod
    def of_settings(cls, settings: Settings) -> ResticPlace | None:
        """Return what the settings name, None where they name no restic repository."""
        if not settings.snapshot_restic_repository:
            return None
        return cls(
            settings.snapshot_restic_repository,
            settings.snapshot_restic_password_file,
            settings.snapshot_restic_password_command,
            settings.snapshot_restic_environment_file,
        )


@dataclass(frozen=True, slots=True)
class ResticEnvironment:
    """The variables of a restic that is started, and what of them must never be shown.

    Once `stopping` is set, whoever waits for that restic raises `SnapshotStoppedError`, and it is ended.
    """

    variables: Mapping[str, str]
    secrets: tuple[str, ...]
    stopping: threading.Event

    def redact(self, words: str) -> str:
        """Return what restic said without anything secret."""
        for secret in self.secrets:
            words = words.replace(secret, "***")
        return redact_address(words)


def redact_address(words: str) -> str:
    """Return an address, or words with some in them, without passwords: `rest:https://user:***@host`."""
    return _URL_PASSWORD.sub(r"\1:***@", words)


def build_environment(
    place: ResticPlace, cache: Path, stopping: threading.Event, environment: Mapping[str, str] = os.environ
) -> ResticEnvironment:
    """Return the variables. Raises `ResticPasswordUnusableError`; every file is looked at anew each time."""
    given = _read_variables(place.environment_file) if place.environment_file else {}
    kept = {name: environment[name] for name in _KEPT if name in environment}
    ours = {
        "RESTIC_REPOSITORY": _name_repository(place.repository, given),
        "RESTIC_CACHE_DIR": str(cache),
        "LC_ALL": "C",
    }
    spelled = {word for one in given.values() for word in (one, quote(one, safe=""))}
    # The longest first: one may be a part of another one.
    secrets = sorted((one for one in spelled if len(one) >= _MIN_SECRET_LENGTH), key=len, reverse=True)
    return ResticEnvironment({**kept, **given, **ours, **_find_password(place, environment)}, tuple(secrets), stopping)


def _find_password(place: ResticPlace, environment: Mapping[str, str]) -> dict[str, str]:
    if place.password_file is not None and place.password_command:
        raise ResticPasswordUnusableError(
            "the settings name both a file and a command for the restic repository's password",
            hint="remove snapshot_restic_password_file or snapshot_restic_password_command",
        )
    if place.password_command:
        return {"RESTIC_PASSWORD_COMMAND": place.password_command}
    if place.password_file is not None:
        _require_private(place.password_file, _OTHERS)
        return {"RESTIC_PASSWORD_FILE": str(place.password_file)}
    if folder := environment.get("CREDENTIALS_DIRECTORY"):
        credential = Path(folder) / CREDENTIAL_NAME
        if credential.exists():
            # systemd gives it to the service by an ACL, which shows as the group's bits.
            _require_private(credential, stat.S_IRWXO)
            return {"RESTIC_PASSWORD_FILE": str(credential)}
    raise ResticPasswordUnusableError(
        "nothing says where the restic repository's password is",
        hint="set snapshot_restic_password_file or snapshot_restic_password_command, or give the service the "
        f"credential {CREDENTIAL_NAME} (docs/snapshots.md)",
    )


def _require_private(file: Path, forbidden: int) -> None:
    try:
        found = file.stat()
    except OSError as error:
        raise ResticPasswordUnusableError(
            f"{file} cannot be read: {error.strerror}", hint="make it, with mode 600, owned by the agent's user"
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise ResticPasswordUnusableError(f"{file} is no file", hint="name a file of mode 600")
    if found.st_mode & forbidden or found.st_uid not in (os.geteuid(), 0):
        raise ResticPasswordUnusableError(
            f"{file} can be read or replaced by other users, and is not used", hint=f"chmod 600 {file}"
        )


def _read_variables(file: Path) -> dict[str, str]:
    _require_private(file, _OTHERS)
    try:
        text = file.read_bytes()[:_MAX_FILE_BYTES].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ResticPasswordUnusableError(
            f"{file} cannot be read", hint="make it a readable file of NAME=VALUE lines"
        ) from error
    found = (_LINE.match(line.strip()) for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {one[1]: one[2].strip().strip("\"'") for one in found if one}


def _name_repository(repository: str, given: Mapping[str, str]) -> str:
    """Return the repository as restic is told it: older ones know a REST server's user only from the address."""
    user, password = given.get("RESTIC_REST_USERNAME"), given.get("RESTIC_REST_PASSWORD")
    scheme, separator, rest = repository.partition("://")
    if not (user and password and repository.startswith("rest:") and separator):
        return repository
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{rest}"
