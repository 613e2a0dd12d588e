"""The restic of this machine: where it is, and whether it is new enough."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from typing import Final

from hostk8s_agent.snapshot.errors import ResticMissingError

OLDEST_VERSION: Final = (0, 14)
"""The oldest that the tests have passed on: Debian 12's. 0.14 brought compression."""

_INSTALL = "brew install restic" if sys.platform == "darwin" else "apt-get install restic"
# Where Homebrew puts it: launchd's PATH has neither.
_MORE_PLACES = "/opt/homebrew/bin:/usr/local/bin"
_VERSION = re.compile(r"^restic (\d+)\.(\d+)(\S*)")
_TIMEOUT_SECONDS = 20


def find_restic() -> str:
    """Return the program's path. Raises `ResticMissingError` when there is none, or an old one."""
    program = shutil.which("restic") or shutil.which("restic", path=_MORE_PLACES)
    if program is None:
        raise ResticMissingError("restic is not installed, and the settings name a restic repository", hint=_INSTALL)
    version = read_version(program)
    if not version or version < OLDEST_VERSION:
        found = ".".join(map(str, version)) or "of a version that it does not tell"
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise ResticMissingError(
            f"{program} is {found}, and {oldest} or later is needed",
            hint=f"{_INSTALL}, or put a newer restic on the agent's PATH",
        )
    return program


@functools.cache
def read_version(program: str) -> tuple[int, ...]:
    """Return major and minor version of a restic, nothing when it is none."""
    try:
        asked = subprocess.run(  # noqa: S603 - a constant command
            [program, "version"], capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    found = _VERSION.match(asked.stdout)
    return (int(found[1]), int(found[2])) if found else ()


@functools.cache
def find_death_signal() -> tuple[str, ...]:
    """Return what is put before a command so that it ends with us, however we end; nothing where there is no such way.

    setpriv(1) of util-linux asks the kernel for it (prctl(2), PR_SET_PDEATHSIG) and then becomes the command.
    """
    program = shutil.which("setpriv")
    if program is None or not sys.platform.startswith("linux"):
        return ()
    asked = subprocess.run(  # noqa: S603 - a constant command
        [program, "--pdeathsig", "TERM", "--", program, "--version"], capture_output=True, check=False, timeout=10
    )
    return (program, "--pdeathsig", "TERM", "--") if asked.returncode == 0 else ()
