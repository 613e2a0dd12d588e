"""Whether the workspace may be believed now: nothing is pruned while a contract could be there and not be seen."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hostk8s_agent.errors import Problem
from hostk8s_agent.watch.scan import ScanResult, scan_contract_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hostk8s_agent.workspace import Workspace

# What git leaves in its folder while it changes the files, or while a person is in the middle of something
# (gitrepository-layout(5), git's wt-status.c).
_GIT_MARKERS = (
    "index.lock",
    "rebase-merge",
    "rebase-apply",
    "MERGE_HEAD",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "BISECT_LOG",
)
_GIT_FILE_LIMIT_BYTES = 4096


GIT_AT_WORK = "PruneWaitsForGit"

# What is said instead of a scan that was not made: nothing was seen.
_UNSEEN = ScanResult({}, "unreadable")


def find_doubt(workspace: Workspace, folder_seen_before: str) -> tuple[Problem | None, ScanResult]:
    """Scan the contracts; return why nothing may be pruned now (None when nothing speaks against it) and the scan.

    `folder_seen_before` is the `folder_identity` of the stacks folder when it last held a contract. While git is at
    work nothing is scanned: that is asked each second.
    """
    if marker := find_git_operation(workspace.stacks_root):
        return _explain_git(workspace.relative(marker)), _UNSEEN
    scan = scan_contract_files(workspace.stacks_root)
    unread = _find_unread(workspace, scan)
    if unread is None and not scan.files and folder_seen_before not in ("", folder_identity(workspace)):
        return _explain_replaced(workspace.relative(workspace.stacks_root)), scan
    if unread is None and (marker := find_git_operation(workspace.stacks_root)):
        # It began while we looked.
        return _explain_git(workspace.relative(marker)), scan
    return _explain_unread(unread) if unread is not None else None, scan


def folder_identity(workspace: Workspace) -> str:
    """Return what tells the stacks folder from another one at its path; empty when there is none."""
    try:
        status = workspace.stacks_root.stat()
    except OSError:
        return ""
    return f"{status.st_dev}:{status.st_ino}"


def find_git_operation(folder: Path) -> Path | None:
    """Return the file or folder that shows that git is at work in a repository that `folder` lies in, or holds."""
    for git in _find_git_folders(folder):
        for name in _GIT_MARKERS:
            marker = git / name
            if os.path.lexists(marker):
                return marker
    return None


def _find_git_folders(folder: Path) -> Iterator[Path]:
    for above in (folder, *folder.parents):
        git = above / ".git"
        # os.path: a folder that may not be looked into is no error, but one that find_doubt tells of.
        if os.path.isdir(git):  # noqa: PTH112
            yield git
        elif (linked := _read_git_file(git)) is not None:
            # A worktree or a submodule: a file that says where its own index is (gitrepository-layout(5)).
            yield linked


def _read_git_file(file: Path) -> Path | None:
    try:
        with file.open("rb") as opened:
            text = opened.read(_GIT_FILE_LIMIT_BYTES)
    except OSError:
        return None
    if not text.startswith(b"gitdir:"):
        return None
    return file.parent / os.fsdecode(text.removeprefix(b"gitdir:").strip())


def _find_unread(workspace: Workspace, scan: ScanResult) -> str | None:
    """Return in words what of the contracts cannot be read, None when all can."""
    if scan.root_state != "present":
        return f"the stacks folder {workspace.relative(workspace.stacks_root)} is {scan.root_state}"
    if scan.unreadable:
        return f"the folder {scan.unreadable[0]} of the stacks folder cannot be read"
    for stack, file in scan.files.items():
        if file.kind in ("unreadable", "dangling") or (file.kind == "file" and not os.access(file.location, os.R_OK)):
            return f"the contract of the stack {stack} cannot be read"
    return None


def _explain_git(marker: str) -> Problem:
    return Problem(
        "PruneWaitsForGit",
        f"git is at work ({marker}): nothing is pruned meanwhile",
        f"end what git has begun (git status says how); if no git runs, remove {marker}",
    )


def _explain_unread(reason: str) -> Problem:
    return Problem(
        "PruneWaitsForContracts",
        f"{reason}: nothing is pruned till it can be",
        "bring it back, or make it readable for the agent's user",
    )


def _explain_replaced(folder: str) -> Problem:
    return Problem(
        "PruneWaitsForContracts",
        f"another folder than before stands at {folder}, and it holds no contract: nothing is pruned",
        "mount it or check it out again; if all stacks are meant to go: hostk8s-agent prune --confirm",
    )
