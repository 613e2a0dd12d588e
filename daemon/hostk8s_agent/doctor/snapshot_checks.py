"""Snapshots: the place where they are kept, and whether each directory has one that was read back whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.doctor.findings import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostk8s_agent.doctor.circumstances import Circumstances

MIN_FREE_SHARE = 0.05


def check_snapshots(found: Circumstances) -> Iterator[Finding]:
    """Give what is found of the snapshots, as the agent that runs tells it; nothing without one."""
    told = (found.status or {}).get("snapshots", {})
    if told.get("repository"):
        yield _check_repository(Path(told["repository"]))
    directories = told.get("directories", ())
    if not directories:
        return
    bare = [f"{one['stack']}/{one['directory']}" for one in directories if not one["isProtected"]]
    if bare:
        some = ", ".join(bare[:3]) + (", ..." if len(bare) > 3 else "")  # noqa: PLR2004 - a line holds three
        message = f"{len(bare)} of {len(directories)} directories have no fresh snapshot that was verified: {some}"
        yield warn("last verified snapshot", message, "hostk8s-agent status")
    else:
        oldest = min(one["lastVerifiedAt"] for one in directories)
        yield ok("last verified snapshot", f"every directory has one; the oldest verification was at {oldest}")


def _check_repository(folder: Path) -> Finding:
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    if not os.access(nearest, os.W_OK):
        return fail("repository", f"{nearest} cannot be written to", f"chown $USER {nearest}")
    usage = shutil.disk_usage(nearest)
    told = f"{folder}, {usage.free / 1024**3:.1f} GiB free"
    if usage.free < usage.total * MIN_FREE_SHARE:
        return warn("repository", told, "keep fewer snapshots, or move the repository to a larger disk")
    return ok("repository", told)
