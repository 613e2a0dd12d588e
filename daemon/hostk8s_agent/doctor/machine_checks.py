"""The machine: the stacks folder and how its changes are noticed, the kernel's limits, disks."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from hostk8s_agent.doctor.findings import Finding, fail, ok, warn
from hostk8s_agent.watch.filesystem import find_filesystem_type, find_inotify_watch_limit, has_native_events
from hostk8s_agent.watch.scan import scan_contract_files
from hostk8s_agent.workspace import state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hostk8s_agent.doctor.circumstances import Circumstances

# Below these a folder counts as nearly full: state and manifests are small, data and snapshots are not.
MIN_FREE_BYTES = 1024**3
MIN_FREE_SHARE = 0.05
# What the agent watches is few; what editors and other programs of the user watch counts against the same limit.
MIN_INOTIFY_WATCHES = 8192


def check_machine(found: Circumstances) -> Iterator[Finding]:
    """Give what is found of the machine."""
    yield _check_stacks(found)
    yield _check_filesystem(found)
    yield from _check_inotify()
    yield _check_watch(found)
    yield _check_space("disk of the workspace", found.workspace.root)
    yield _check_space("disk of the agent's state", state_folder(found.workspace), is_written=True)


def _check_stacks(found: Circumstances) -> Finding:
    root = found.workspace.stacks_root
    scan = scan_contract_files(root)
    if scan.problems:
        return fail("stacks folder", scan.problems[0].message, scan.problems[0].hint)
    if not scan.files:
        return warn("stacks folder", f"no contract below {root}", "hostk8s-agent init STACK")
    unreadable = [file.path for file in scan.files.values() if not os.access(file.path, os.R_OK)]
    if unreadable:
        return fail("stacks folder", f"{unreadable[0]} cannot be read", f"chmod u+r {unreadable[0]}")
    return ok("stacks folder", f"contracts: {len(scan.files)}; hostk8s-agent validate judges them")


def _check_filesystem(found: Circumstances) -> Finding:
    kind = find_filesystem_type(found.workspace.stacks_root)
    if has_native_events(kind):
        return ok("file system", kind or "unknown kind")
    return warn(
        "file system",
        f"{kind} does not tell of changes made elsewhere: the agent polls",
        "move the checkout to a disk of this machine",
    )


def _check_inotify() -> Iterator[Finding]:
    if sys.platform != "linux":
        return
    limit = find_inotify_watch_limit()
    if limit is not None and limit < MIN_INOTIFY_WATCHES:
        yield warn(
            "inotify",
            f"a user may have {limit} watches, which editors use up",
            "sudo sysctl fs.inotify.max_user_watches=524288",
        )
    else:
        yield ok("inotify", f"{limit} watches")


def _check_watch(found: Circumstances) -> Finding:
    if found.status is None:
        return warn("watcher", "no agent runs that could watch", found.start_command)
    watch = found.status["watch"]
    kind = find_filesystem_type(found.workspace.stacks_root)
    told = f"{watch['backend']}, last scan {watch['lastScanAt'] or 'not yet'}"
    if watch["backend"] == "polling" and found.settings.watch_backend == "auto" and has_native_events(kind):
        return warn("watcher", f"{told}: the canary was not seen, so that it polls", "hostk8s-agent service restart")
    return ok("watcher", told)


def _check_space(check: str, folder: Path, *, is_written: bool = False) -> Finding:
    nearest = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    try:
        usage = shutil.disk_usage(nearest)
    except OSError as error:
        return fail(check, f"{nearest} cannot be looked at: {error.strerror}", f"ls -ld {nearest}")
    if is_written and not os.access(nearest, os.W_OK | os.X_OK):
        return fail(check, f"{folder} cannot be made or written to", f"sudo chown $USER {nearest}")
    told = f"{usage.free / 1024**3:.1f} GiB of {usage.total / 1024**3:.1f} GiB free"
    if usage.free < MIN_FREE_BYTES or usage.free < usage.total * MIN_FREE_SHARE:
        return warn(check, told, f"du -xh --max-depth=1 {nearest} | sort -h")
    return ok(check, told)
