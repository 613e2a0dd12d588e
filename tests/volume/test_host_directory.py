"""The host directory of an ordinary user, who cannot give directories away."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.plan.actions import ChangeDirectory, CreateDirectory
from hostk8s_agent.volume.errors import OwnerNotPermittedError, PermissionDeniedError
from hostk8s_agent.volume.host_directory import HostDirectoryAccess

NOBODY = 65534


def run_as_nobody(action: Callable[[], Any]) -> Any:
    """Run in a forked child that is no root, and return its picklable result."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(action(), pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return pickle.loads(answer)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that nobody may write, opened to him all the way."""
    for one in (tmp_path, *tmp_path.parents):
        if one.owner() == "root" and one.stat().st_mode & 0o077 == 0:
            one.chmod(0o711)
    made = tmp_path / "data"
    made.mkdir()
    os.chown(made, NOBODY, NOBODY)
    return made


def test_a_directory_is_made_and_keeps_the_users_own_owner(folder: Path) -> None:
    """Another owner is declared: the directory is made with its mode, is ours, and is said to be ours."""

    def act() -> Any:
        access = HostDirectoryAccess(folder / "pv")
        try:
            outcomes = access.apply_directories([CreateDirectory("/mnt/pv/a/b", 26, 26, 0o710, "absent")])
            return access.may_set_owner, outcomes, access.observe_directories(["/mnt/pv/a/b"])[0]
        finally:
            access.close()

    may_set_owner, outcomes, observed = run_as_nobody(act)
    assert (may_set_owner, outcomes) == (False, (None,))
    assert (observed.kind, observed.uid, observed.mode) == ("directory", NOBODY, 0o710)
    assert (folder / "pv/a").stat().st_mode & 0o7777 == 0o755


def test_a_change_of_owner_that_is_asked_for_fails_in_words(folder: Path) -> None:
    """A change that cannot be made is never reported as made."""

    def act() -> Any:
        access = HostDirectoryAccess(folder / "pv")
        try:
            access.apply_directories([CreateDirectory("/mnt/pv/a", 26, 26, 0o710, "absent")])
            change = ChangeDirectory("/mnt/pv/a", 26, 26, 0o700, True, True, "drift", ())  # noqa: FBT003
            (error,) = access.apply_directories([change])
            return type(error), str(error)
        finally:
            access.close()

    assert run_as_nobody(act) == (OwnerNotPermittedError, "/mnt/pv/a cannot be given to 26:26: only root may do that")
    assert (folder / "pv/a").stat().st_mode & 0o7777 == 0o710


def test_what_may_not_be_searched_is_unreadable_and_never_absent(folder: Path) -> None:
    """A directory behind a closed one is not taken for missing."""
    (folder / "pv/closed/below").mkdir(parents=True)
    (folder / "pv/closed").chmod(0o700)

    def act() -> Any:
        access = HostDirectoryAccess(folder / "pv")
        try:
            (error,) = access.apply_directories([CreateDirectory("/mnt/pv/closed/below", 0, 0, 0o755, "absent")])
            return access.observe_directories(["/mnt/pv/closed/below", "/mnt/pv/closed"]), type(error)
        finally:
            access.close()

    (below, closed), error = run_as_nobody(act)
    assert (below.kind, below.detail) == ("unreadable", "Permission denied")
    assert (closed.kind, closed.mode) == ("directory", 0o700)
    assert error is PermissionDeniedError


def test_the_folder_is_made_for_the_first_action_alone(tmp_path: Path) -> None:
    """Looking makes nothing; the first directory brings its folder."""
    access = HostDirectoryAccess(tmp_path / "data/pv")
    try:
        assert access.observe_directories(["/mnt/pv/a"])[0].kind == "absent"
        assert not (tmp_path / "data").exists()
        assert access.apply_directories([CreateDirectory("/mnt/pv/a", 1, 2, 0o700, "absent")]) == (None,)
        assert (tmp_path / "data/pv/a").stat().st_uid == 1
    finally:
        access.close()
