"""The scan: which contracts there are, and what can not be seen."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.watch.conftest import run_unprivileged, write_contract

from hostk8s_agent.watch.contract_files import CONTRACT_NAME
from hostk8s_agent.watch.scan import ScanResult, scan_contract_files

if TYPE_CHECKING:
    from collections.abc import Callable


def _codes(scan: ScanResult) -> list[str]:
    return [problem.code for problem in scan.problems]


def test_a_stack_is_named_by_its_folder_at_any_depth_and_below_another_stack(root: Path) -> None:
    """A stack's name is its folder's path below the stacks folder, and stacks nest."""
    write_contract(root, "a/b/c/d/e")
    scan = scan_contract_files(root)
    assert list(scan.files) == ["a/b/c/d/e", "foundation", "foundation/airflow", "web"]
    assert root / "web" / CONTRACT_NAME == scan.files["web"].path
    assert (scan.root_state, scan.directories, scan.problems) == ("present", 9, ())


@pytest.mark.parametrize("folder", [".git", ".venv/lib", "node_modules/x", "web/node_modules", "web/.idea"])
def test_hidden_folders_and_node_modules_hold_no_stacks(root: Path, folder: str) -> None:
    """Nothing below a folder that can hold no stack is looked at."""
    write_contract(root, folder)
    assert list(scan_contract_files(root).files) == ["foundation", "foundation/airflow", "web"]


def test_a_contract_in_the_stacks_folder_itself_is_a_problem_and_no_stack(root: Path) -> None:
    """Without a folder there is no name."""
    (root / CONTRACT_NAME).write_text("")
    scan = scan_contract_files(root)
    assert _codes(scan) == ["ContractWithoutStack"]
    assert "" not in scan.files


def test_a_contract_with_the_extension_yml_is_pointed_out(root: Path) -> None:
    """The commonest misspelling is told instead of being ignored."""
    (root / "web" / "hostk8s.storage.yml").write_text("")
    assert _codes(scan_contract_files(root)) == ["ContractNameNotRecognised"]


@pytest.mark.parametrize("name", [b"bad\xff", b"two\nlines"])
def test_a_folder_whose_name_is_no_text_is_a_problem_and_no_stack(root: Path, name: bytes) -> None:
    """Such a name fits no Kubernetes object, no log line and no JSON."""
    folder = os.path.join(os.fsencode(root), name)  # noqa: PTH118  # Path takes no bytes
    os.mkdir(folder)  # noqa: PTH102  # the same
    Path(os.fsdecode(folder), CONTRACT_NAME).write_text("")
    scan = scan_contract_files(root)
    assert _codes(scan) == ["StackNameNotText"]
    assert len(scan.files) == 3
    assert scan.problems[0].message.isprintable()


def _make_fifo(path: Path) -> None:
    os.mkfifo(path)


def _make_socket(path: Path) -> None:
    # A socket's path may be 108 bytes long, shorter than pytest's; so bind a relative one.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (_make_fifo, "fifo"),
        (_make_socket, "socket"),
        (lambda path: path.mkdir(), "directory"),
        (lambda path: path.symlink_to("/dev/zero"), "device"),
        (lambda path: path.symlink_to("nowhere"), "dangling"),
        (lambda path: path.symlink_to(path.name), "dangling"),
        (lambda path: path.symlink_to("../web/" + CONTRACT_NAME), "file"),
    ],
    ids=["fifo", "socket", "directory", "device", "dangling link", "link to itself", "link to a file"],
)
def test_whatever_bears_the_contract_s_name_is_reported_as_existing_with_its_kind(
    root: Path,
    make: Callable[[Path], None],
    kind: str,
) -> None:
    """The reader can then say what is wrong; "gone" would be a lie. Nothing is opened, so nothing blocks."""
    path = root / "odd" / CONTRACT_NAME
    path.parent.mkdir()
    make(path)
    assert kind == scan_contract_files(root).files["odd"].kind


@pytest.mark.parametrize("change", ["write", "same size and time", "replace", "behind a link"])
def test_a_fingerprint_differs_after_every_change(root: Path, change: str) -> None:
    """Size and modification time alone would miss a file put back with its old time."""
    path = root / "web" / CONTRACT_NAME
    if change == "behind a link":
        path.rename(root / "elsewhere.yaml")
        path.symlink_to(root / "elsewhere.yaml")
    before = scan_contract_files(root).files["web"].fingerprint
    if change == "replace":
        twin = path.with_suffix(".new")
        twin.write_bytes(path.read_bytes())
        twin.replace(path)
    else:
        path.write_bytes(path.read_bytes()[::-1] + (b"" if change == "same size and time" else b"#\n"))
    if change == "same size and time":
        os.utime(path, ns=(before.mtime_ns, before.mtime_ns))
    assert before != scan_contract_files(root).files["web"].fingerprint


def test_a_missing_stacks_folder_is_a_state_and_no_empty_one(tmp_path: Path) -> None:
    """No stacks and no folder are different things: the first may prune, the second never."""
    scan = scan_contract_files(tmp_path / "absent")
    assert (scan.root_state, _codes(scan), scan.directories) == ("missing", ["StacksFolderMissing"], 0)
    assert scan.may_hide("web")


def test_a_file_in_the_stacks_folder_s_place_is_unreadable(tmp_path: Path) -> None:
    """A file can hold no stacks, and says nothing about them."""
    (tmp_path / "stacks").write_text("")
    scan = scan_contract_files(tmp_path / "stacks")
    assert (scan.root_state, _codes(scan)) == ("unreadable", ["StacksFolderUnreadable"])


def test_a_stacks_folder_of_mode_000_is_unreadable_and_not_empty(public_folder: Path) -> None:
    """A folder that may not be listed says nothing about its stacks."""
    write_contract(public_folder / "stacks", "web")
    (public_folder / "stacks").chmod(0o000)
    scan: ScanResult = run_unprivileged(lambda: scan_contract_files(public_folder / "stacks"))
    assert (scan.root_state, _codes(scan)) == ("unreadable", ["StacksFolderUnreadable"])


def test_an_unreadable_folder_hides_its_own_stacks_and_no_others(public_folder: Path) -> None:
    """Unreadable is never absent, and one bad folder blocks nobody else."""
    for stack in ("web", "shut", "shut/inner", "shutters"):
        write_contract(public_folder, stack)
    (public_folder / "shut").chmod(0o000)
    scan: ScanResult = run_unprivileged(lambda: scan_contract_files(public_folder))
    assert list(scan.files) == ["shutters", "web"]
    assert (scan.unreadable, _codes(scan)) == (("shut",), ["FolderUnreadable"])
    assert [scan.may_hide(s) for s in ("shut", "shut/inner", "shutters", "gone")] == [True, True, False, False]


def test_a_contract_in_a_folder_that_may_be_listed_but_not_entered_is_there(public_folder: Path) -> None:
    """Its name is seen, so it exists; that it cannot be looked at is a kind of its own."""
    write_contract(public_folder, "web")
    (public_folder / "web").chmod(0o744)
    scan: ScanResult = run_unprivileged(lambda: scan_contract_files(public_folder))
    assert {stack: seen.kind for stack, seen in scan.files.items()} == {"web": "unreadable"}


def test_a_link_to_a_folder_elsewhere_is_followed_under_the_link_s_name(root: Path, tmp_path: Path) -> None:
    """A stack may be kept in another checkout; links found in it lead on."""
    write_contract(tmp_path / "other", "sub")
    write_contract(tmp_path / "third", ".")
    (tmp_path / "other" / "on").symlink_to(tmp_path / "third")
    (root / "linked").symlink_to(tmp_path / "other")
    scan = scan_contract_files(root)
    assert list(scan.files) == ["foundation", "foundation/airflow", "linked/on", "linked/sub", "web"]
    assert scan.problems == ()


@pytest.mark.parametrize("target", [".", "..", "/", "../web", "loop"])
def test_a_link_that_leads_in_a_circle_or_to_a_known_folder_is_not_followed(root: Path, target: str) -> None:
    """A loop must end, a parent must not pull in the disk, and one contract has one name."""
    (root / "foundation" / "loop").symlink_to(target)
    scan = scan_contract_files(root)
    assert list(scan.files) == ["foundation", "foundation/airflow", "web"]
    assert ([] if target == "loop" else ["LinkedFolderIgnored"]) == _codes(scan)


def test_two_linked_folders_that_link_to_each_other_end(root: Path, tmp_path: Path) -> None:
    """Loops outside the stacks folder end as well."""
    for name, other in (("one", "two"), ("two", "one")):
        write_contract(tmp_path / name, "s")
        (tmp_path / name / "across").symlink_to(tmp_path / other)
    (root / "linked").symlink_to(tmp_path / "one")
    scan = scan_contract_files(root)
    assert [stack for stack in scan.files if stack.startswith("linked")] == ["linked/across/s", "linked/s"]
    assert _codes(scan) == ["LinkedFolderIgnored"]


def test_each_folder_is_announced_before_it_is_listed(root: Path) -> None:
    """A watch set at the announcement sees whatever the listing came too early for."""
    announced: list[str] = []

    def write_into(folder: str) -> None:
        announced.append(folder)
        Path(folder, CONTRACT_NAME).write_text("")

    (root / "late").mkdir()
    scan = scan_contract_files(root, before_listing=write_into)
    assert "late" in scan.files
    assert scan.directories == len(announced)
