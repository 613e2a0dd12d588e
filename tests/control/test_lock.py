"""One agent a workspace, whatever happens to its folders."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hostk8s_agent.control.holders import Holder, find_holder, parse_words
from hostk8s_agent.control.lock import LOCK_FILE_NAME, WorkspaceLock
from hostk8s_agent.errors import AgentAlreadyRunningError, WorkspaceError
from hostk8s_agent.workspace import Workspace, state_folder

if TYPE_CHECKING:
    from pathlib import Path

# Two processes of one fork wait for one byte each, try to take the lock, tell, and hold it until both have told.
RACE = """
import os, sys
from pathlib import Path
from hostk8s_agent.control.lock import WorkspaceLock
from hostk8s_agent.errors import AgentAlreadyRunningError
from hostk8s_agent.workspace import Workspace

workspace = Workspace(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    start, told, end = os.pipe(), os.pipe(), os.pipe()
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            os.read(start[0], 1)
            try:
                WorkspaceLock(workspace).acquire()
                won = "W"
            except AgentAlreadyRunningError:
                won = "L"
            os.write(told[1], won.encode())
            os.read(end[0], 1)
            os._exit(0)
        children.append(child)
    os.write(start[1], b"..")
    print("".join(sorted((os.read(told[0], 1) + os.read(told[0], 1)).decode())))
    os.write(end[1], b"..")
    for child in children:
        os.waitpid(child, 0)
    for pipe in (start, told, end):
        os.close(pipe[0]), os.close(pipe[1])
"""

HOLD = """
import sys
from pathlib import Path
from hostk8s_agent.control.lock import WorkspaceLock
from hostk8s_agent.workspace import Workspace

lock = WorkspaceLock(Workspace(Path(sys.argv[1])))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def hold(workspace: Workspace, **environment: str) -> subprocess.Popen[bytes]:
    """A process of its own that holds the workspace until its stdin is closed or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(workspace.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Let a holder go."""
    process.communicate()


def test_of_two_that_start_at_once_one_wins_every_time(workspace: Workspace) -> None:
    """Fault D5: never two, and never none."""
    done = subprocess.run(
        [sys.executable, "-c", RACE, str(workspace.root), "40"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["LW"] * 40


def test_the_second_is_told_who_holds_the_workspace(workspace: Workspace) -> None:
    """Process, user and since when: enough to find it and to stop it."""
    process = hold(workspace)
    with pytest.raises(AgentAlreadyRunningError) as caught:
        WorkspaceLock(workspace).acquire()
    end(process)
    assert f"process {process.pid} of " in caught.value.message
    assert ", since 20" in caught.value.message
    assert f"kill {process.pid}" in caught.value.hint


def test_a_lock_ends_with_its_process(workspace: Workspace) -> None:
    """After kill -9 the next start takes over at once: no stale lock, no file to remove by hand."""
    process = hold(workspace)
    process.send_signal(signal.SIGKILL)
    end(process)
    with WorkspaceLock(workspace):
        pass


def test_a_released_lock_can_be_taken_again(workspace: Workspace) -> None:
    """Release gives everything back, twice does no harm."""
    lock = WorkspaceLock(workspace)
    for _ in range(2):
        lock.acquire()
        lock.release()
        lock.release()
    assert (state_folder(workspace) / LOCK_FILE_NAME).read_bytes() == b""


def test_emptying_the_workspace_and_the_state_frees_nothing(workspace: Workspace) -> None:
    """`make clean` removes data/, and somebody tidies ~/.local/state: the agent still runs."""
    process = hold(workspace)
    (workspace.root / "data").mkdir()
    shutil.rmtree(workspace.root / "data")
    shutil.rmtree(state_folder(workspace))
    with pytest.raises(AgentAlreadyRunningError) as caught:
        WorkspaceLock(workspace).acquire()
    end(process)
    # The holder's words are gone; the kernel still knows the process.
    assert f"process {process.pid} of " in caught.value.message


def test_other_xdg_folders_make_no_second_agent(workspace: Workspace, place: Path) -> None:
    """Another user's agent, or a service's, keeps its state elsewhere: the workspace is the same."""
    process = hold(workspace, XDG_STATE_HOME=str(place / "elsewhere"))
    with pytest.raises(AgentAlreadyRunningError) as caught:
        WorkspaceLock(workspace).acquire()
    end(process)
    assert f"process {process.pid} of " in caught.value.message


def test_a_workspace_checked_out_anew_is_still_the_same(workspace: Workspace) -> None:
    """Removed and made again at the same path, it has another inode: the state folder's lock holds."""
    process = hold(workspace)
    shutil.rmtree(workspace.root)
    workspace.root.mkdir()
    with pytest.raises(AgentAlreadyRunningError):
        WorkspaceLock(workspace).acquire()
    end(process)


def test_a_refused_lock_leaves_nothing_locked(workspace: Workspace) -> None:
    """Who fails on the second lock gives back the first: after the holder's end, the next start succeeds."""
    process = hold(workspace)
    shutil.rmtree(workspace.root)
    workspace.root.mkdir()
    with pytest.raises(AgentAlreadyRunningError):
        WorkspaceLock(workspace).acquire()
    end(process)
    with WorkspaceLock(workspace):
        pass


def test_without_a_lockable_root_the_lock_file_serves(workspace: Workspace) -> None:
    """NFS refuses flock on a folder, as a root that is no folder does here."""
    shutil.rmtree(workspace.root)
    workspace.root.write_bytes(b"")
    lock = WorkspaceLock(workspace)
    lock.acquire()
    with pytest.raises(AgentAlreadyRunningError):
        WorkspaceLock(workspace).acquire()
    lock.release()


def test_without_anything_to_lock_it_refuses(workspace: Workspace, place: Path) -> None:
    """No lock, no agent: two writers are worse than none."""
    shutil.rmtree(workspace.root)
    (place / "state").write_bytes(b"")
    with pytest.raises(WorkspaceError):
        WorkspaceLock(workspace).acquire()


@pytest.mark.parametrize("words", [b"", b"{", b"[]", b"null", b'{"pid": "x"}', b'{"pid": 1}', b"[" * 5000, b"\xff"])
def test_words_that_say_nothing_are_no_holder(words: bytes) -> None:
    """The file may be empty, cut or somebody's prank: then the kernel is asked."""
    assert parse_words(words) is None


def test_nobody_known_is_said_as_such(place: Path) -> None:
    """Without words and without a lock in this namespace there is still a sentence."""
    assert find_holder(place.stat(), place / "none") == Holder()
    assert str(Holder()) == "a process that cannot be seen from here"
