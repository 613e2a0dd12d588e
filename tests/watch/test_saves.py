"""One save, one stack told: how editors and tools really write, on both sources of events."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.watch.conftest import write_contract

from hostk8s_agent.watch.contract_files import CONTRACT_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.watch.conftest import Watched

    from reliability import Row


def _save_in_place(path: Path) -> None:
    path.write_text("in place")


def _save_in_pieces(path: Path) -> None:
    """A writer that flushes: a reader could see half of it, so only the close counts."""
    with path.open("w") as contract:
        for _ in range(50):
            contract.write("a piece\n")
            contract.flush()


def _append(path: Path) -> None:
    with path.open("a") as contract:
        contract.write("# more\n")


def _rename_over(path: Path) -> None:
    draft = path.with_name("draft")
    draft.write_text("renamed")
    draft.replace(path)


def _save_like_vim(path: Path) -> None:
    """`:w` with `backupcopy=no`: a probe file, the old one set aside, the new one written, the old one deleted."""
    probe = path.with_name("4913")
    probe.write_text("")
    probe.unlink()
    backup = path.with_name(path.name + "~")
    path.rename(backup)
    path.write_text("vim")
    backup.unlink()


def _save_like_vs_code(path: Path) -> None:
    """Truncated, then written through the same descriptor."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(descriptor, b"code")
    os.close(descriptor)


def _save_like_jetbrains(path: Path) -> None:
    """Safe write: the new one beside it, the old one away, the new one in, the old one deleted."""
    new, old = path.with_name(path.name + "___jb_tmp___"), path.with_name(path.name + "___jb_old___")
    new.write_text("jetbrains")
    path.rename(old)
    new.rename(path)
    old.unlink()


def _save_like_emacs(path: Path) -> None:
    """A lock link, the first save's backup by rename, the file written anew."""
    lock = path.with_name(".#" + path.name)
    lock.symlink_to("user@host.1:1")
    path.rename(path.with_name(path.name + "~"))
    path.write_text("emacs")
    lock.unlink()


def _save_with_sed(path: Path) -> None:
    subprocess.run(["sed", "-i", "s/kind/KIND/", str(path)], check=True)


def _unlink_and_create(path: Path) -> None:
    """What `git checkout` does to each file."""
    path.unlink()
    path.write_text("git")


def _move_in_from_elsewhere(path: Path) -> None:
    draft = path.parents[2] / "draft"
    draft.write_text("moved in")
    draft.replace(path)


@pytest.mark.parametrize(
    "save",
    [
        _save_in_place,
        _save_in_pieces,
        _append,
        _rename_over,
        _save_like_vim,
        _save_like_vs_code,
        _save_like_jetbrains,
        _save_like_emacs,
        _save_with_sed,
        _unlink_and_create,
    ],
)
def test_a_save_of_any_editor_tells_its_stack_once(watched: Watched, save: Callable[[Path], None]) -> None:
    """Whatever a program does to save a file, the save is over once, and the removal on the way is no removal."""
    save(watched.root / "foundation" / "airflow" / CONTRACT_NAME)
    assert watched.settled() == ["foundation/airflow"]


def test_a_contract_moved_in_from_outside_is_told_once(watched: Watched) -> None:
    """A file that comes from elsewhere is complete when it arrives."""
    _move_in_from_elsewhere(watched.root / "web" / CONTRACT_NAME)
    assert watched.settled() == ["web"]


def test_reading_a_contract_tells_nothing(watched: Watched) -> None:
    """The agent itself reads contracts after each event: that must not be an event."""
    for _ in range(3):
        (watched.root / "web" / CONTRACT_NAME).read_text()
    assert watched.settled() == []


def test_other_files_and_hidden_folders_tell_nothing(watched: Watched) -> None:
    """Only contracts matter; a `.git` beside the stacks is busy all day."""
    (watched.root / "web" / "values.yaml").write_text("x: 1")
    write_contract(watched.root, ".git/x")
    write_contract(watched.root, "web/node_modules/y")
    assert watched.settled() == []


def test_a_git_checkout_tells_each_stack_that_differs_once(
    root: Path,
    watch: Callable[..., Watched],
    open_source: object,
) -> None:
    """Changing branches changes, adds and removes contracts at one go; the rest stays untold."""

    def git(*words: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(root.parent), *identity, *words], check=True, capture_output=True)

    write_contract(root, "only-on-main")
    git("init", "-b", "main")
    git("add", ".")
    git("commit", "-m", "main")
    git("checkout", "-b", "other")
    shutil.rmtree(root / "only-on-main")
    write_contract(root, "foundation", "changed")
    write_contract(root, "deep/only-on-other")
    git("add", ".")
    git("commit", "-m", "other")
    git("checkout", "main")
    watched = watch(root, open_source=open_source).start()
    git("checkout", "other")
    # The folder `deep` is new, and the contract in it may be told when seen and again when closed.
    assert {"foundation", "only-on-main", "deep/only-on-other"} == set(watched.settled())
    assert [watched.told.count(stack) for stack in ("foundation", "only-on-main")] == [1, 1]
    assert watched.told.count("deep/only-on-other") <= 2


def test_a_contract_in_a_brand_new_folder_is_told(watched: Watched) -> None:
    """A file written before its folder could be watched sends no event: the folder is looked through."""
    for number in range(50):
        write_contract(watched.root, f"new/{number}/sub")
    wanted = {f"new/{number}/sub" for number in range(50)}
    assert wanted == set(watched.settled())
    assert all(watched.told.count(stack) <= 2 for stack in wanted)


def test_a_folder_moved_in_tells_every_contract_in_it_once(watched: Watched, tmp_path: Path) -> None:
    """A move is one event however much it brings."""
    for stack in ("a", "b/c"):
        write_contract(tmp_path / "outside", stack)
    (tmp_path / "outside").rename(watched.root / "group")
    assert watched.settled() == ["group/a", "group/b/c"]
    watched.told.clear()


def test_a_folder_that_was_moved_in_is_watched(watched: Watched, tmp_path: Path) -> None:
    """What came by a move is as good as what was there before."""
    write_contract(tmp_path / "outside", "a/b")
    (tmp_path / "outside").rename(watched.root / "group")
    watched.wait_for("group/a/b")
    before = watched.told.count("group/a/b")
    write_contract(watched.root, "group/a/b", "edited")
    assert [*["group/a/b"] * before, "group/a/b"] == watched.settled()


def test_a_folder_moved_out_tells_its_contracts_once(watched: Watched, tmp_path: Path) -> None:
    """A stack that left is told after it was confirmed gone."""
    (watched.root / "foundation").rename(tmp_path / "outside")
    assert watched.settled() == ["foundation", "foundation/airflow"]


def test_what_happens_in_a_folder_after_it_was_moved_out_tells_nothing_more(
    watched: Watched,
    tmp_path: Path,
) -> None:
    """Its old watch would name a stack that is there no more."""
    (watched.root / "web").rename(tmp_path / "outside")
    watched.wait_for("web")
    (tmp_path / "outside" / CONTRACT_NAME).write_text("edited outside")
    assert watched.settled() == ["web"]


def test_a_folder_made_in_the_place_of_one_that_was_moved_out_is_watched(watched: Watched, tmp_path: Path) -> None:
    """The watch follows the folder that left, and the path is not watched by it any more."""
    (watched.root / "web").rename(tmp_path / "outside")
    write_contract(watched.root, "web", "another")
    before = watched.settled().count("web")
    write_contract(watched.root, "web", "edited")
    watched.wait_until(lambda: watched.told.count("web") > before, "not watched")


def test_a_renamed_stack_is_told_under_both_names(watched: Watched) -> None:
    """The new name has to be made and the old one removed."""
    (watched.root / "foundation").rename(watched.root / "base")
    assert watched.settled() == ["base", "base/airflow", "foundation", "foundation/airflow"]
    write_contract(watched.root, "base/airflow", "edited")
    assert watched.settled().count("base/airflow") == 2


def test_a_folder_moved_away_and_back_tells_nothing(watched: Watched, tmp_path: Path) -> None:
    """What is as it was needs no reconcile."""
    (watched.root / "web").rename(tmp_path / "outside")
    (tmp_path / "outside").rename(watched.root / "web")
    assert watched.settled() == []


def test_a_deleted_contract_is_told_once_and_not_at_once(watched: Watched) -> None:
    """A removal is believed when it has lasted."""
    (watched.root / "web" / CONTRACT_NAME).unlink()
    assert watched.settled() == ["web"]


@pytest.mark.parametrize("kind", ["fifo", "directory", "dangling link", "link to a contract", "hard link"])
def test_a_contract_that_is_no_written_file_is_told_too(watched: Watched, kind: str) -> None:
    """Nothing is ever closed there, so the second look tells it, and nothing blocks on it."""
    path = watched.root / "web" / CONTRACT_NAME
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "hard link":
        path.hardlink_to(watched.root / "foundation" / CONTRACT_NAME)
    else:
        path.symlink_to("nowhere" if kind == "dangling link" else f"../foundation/{CONTRACT_NAME}")
    assert [stack for stack in watched.settled() if stack != "foundation"] == ["web"]


def test_a_contract_edited_behind_a_link_is_told(root: Path, watch: Callable[..., Watched]) -> None:
    """An edit of the link's target sends no event here, so linked contracts are looked at every second."""
    target = root.parent / "shared.yaml"
    target.write_text("first")
    path = root / "web" / CONTRACT_NAME
    path.unlink()
    path.symlink_to(target)
    watched = watch(root).start()
    # At one stroke: a look between the emptying and the writing of a file would tell it twice.
    beside = root.parent / "beside.yaml"
    beside.write_text("second, and longer")
    beside.replace(target)
    watched.wait_for("web")
    assert watched.settled() == ["web"]


def test_a_linked_folder_is_watched_from_the_moment_it_is_linked(root: Path, watch: Callable[..., Watched]) -> None:
    """A link is no folder to the kernel, and its target is watched all the same."""
    write_contract(root.parent / "elsewhere", "a")
    watched = watch(root).start()
    (root / "linked").symlink_to(root.parent / "elsewhere")
    watched.wait_for("linked/a")
    write_contract(root.parent / "elsewhere", "a", "edited")
    assert watched.settled() == ["linked/a", "linked/a"]
    (root / "linked").unlink()
    assert watched.settled() == ["linked/a"] * 3


SAVES = (
    _save_in_place,
    _save_in_pieces,
    _append,
    _rename_over,
    _save_like_vim,
    _save_like_vs_code,
    _save_like_jetbrains,
    _save_like_emacs,
    _save_with_sed,
    _unlink_and_create,
)


@pytest.mark.fault(
    "W4",
    "vim, VS Code, JetBrains, Emacs, `sed -i`, `git checkout`, in place, in pieces, by rename",
    holds="one reconcile a save, no destroy and re-create",
    target="≤ 1.2 reconciles a save",
    short=2,
    full=20 * len(SAVES),
)
def test_a_save_is_one_reconcile(row: Row, root: Path, watch: Callable[..., Watched]) -> None:
    """However the tool writes: the stack is told once, with its contract in place, and no other stack is."""
    seen: list[bool] = []
    contract = root / "foundation/airflow" / CONTRACT_NAME
    watched = watch(root, after_telling=lambda _stack: seen.append(contract.exists())).start()
    for trial in row.trials():
        with trial as number:
            watched.told.clear()
            seen.clear()
            write_contract(root, "foundation/airflow")
            watched.settled()
            watched.told.clear()
            seen.clear()
            SAVES[number % len(SAVES)](contract)
            told = watched.settled()
            assert set(told) == {"foundation/airflow"}, told
            assert all(seen), "a run began while the contract was not there"
            row.measure("runs of one save", len(told), limit=1.2, statistic="mean")
