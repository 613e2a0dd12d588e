"""Snapshots: the place where they are kept, and whether each directory has one that was read back whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.doctor.findings import Finding, fail, ok, warn
from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.restic.engine import ResticEngine
from hostk8s_agent.snapshot.restic.environment import ResticPlace
from hostk8s_agent.snapshot.restic.program import find_restic, read_version
from hostk8s_agent.workspace import data_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostk8s_agent.doctor.circumstances import Circumstances

MIN_FREE_SHARE = 0.05


def check_snapshots(found: Circumstances) -> Iterator[Finding]:
    """Give what is found of the snapshots: of restic always, of the rest what the agent that runs tells."""
    yield from _check_restic(found)
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
        stacks = dict.fromkeys(one["stack"] for one in directories if not one["isProtected"])
        commands = "; ".join(f"hostk8s-agent snapshot create {stack}" for stack in list(stacks)[:3])
        yield warn("last verified snapshot", message, commands + "; ..." * (len(stacks) > 3))  # noqa: PLR2004 - the same
    else:
        oldest = min(one["lastVerifiedAt"] for one in directories)
        yield ok("last verified snapshot", f"every directory has one; the oldest verification was at {oldest}")


def _check_restic(found: Circumstances) -> Iterator[Finding]:
    """Open the restic repository, where the settings name one. Nothing is made there."""
    place = ResticPlace.of_settings(found.settings)
    if place is None:
        return
    folder = found.settings.snapshot_repository or data_folder(found.workspace) / "snapshots"
    try:
        program = find_restic()
        engine = ResticEngine(folder, place, lock_wait_seconds=0)
        home = engine.find_home()
    except AgentError as error:
        yield fail("restic", f"{error.message} ({error.code})", error.hint)
        return
    version = ".".join(map(str, read_version(program)))
    yield ok("restic", f"{program} ({version}) opens {engine.address}, the repository {home[:12]}")


def _check_repository(folder: Path) -> Finding:
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    if not os.access(nearest, os.W_OK):
        return fail("repository", f"{nearest} cannot be written to", f"chown $USER {nearest}")
    usage = shutil.disk_usage(nearest)
    told = f"{folder}, {usage.free / 1024**3:.1f} GiB free"
    if usage.free < usage.total * MIN_FREE_SHARE:
        return warn("repository", told, "keep fewer snapshots, or move the repository to a larger disk")
    return ok("repository", told)
