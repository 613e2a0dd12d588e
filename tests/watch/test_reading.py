"""Reading contract files: what may stand at the path, and what never may happen."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from hostk8s_agent.errors import ContractError
from hostk8s_agent.watch.reading import MAX_CONTRACT_BYTES, read_contract_file

SHOWN_AS = "software/stacks/demo/hostk8s.storage.yaml"


def code_of(path: Path) -> str:
    """The code of the one problem with which reading `path` fails."""
    with pytest.raises(ContractError) as caught:
        read_contract_file(path, SHOWN_AS)
    (problem,) = caught.value.problems
    assert problem.file == SHOWN_AS
    assert problem.hint
    return problem.code


def test_a_file_is_returned_byte_for_byte(tmp_path: Path) -> None:
    """Reading changes nothing: line ends and bytes that are no UTF-8 are the parser's business."""
    path = tmp_path / "contract"
    path.write_bytes(b"kind: x\r\n\xff")
    assert read_contract_file(path, SHOWN_AS) == b"kind: x\r\n\xff"


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    """People share one contract by a symbolic link."""
    (tmp_path / "real").write_bytes(b"shared")
    (tmp_path / "link").symlink_to("real")
    assert read_contract_file(tmp_path / "link", SHOWN_AS) == b"shared"


@pytest.mark.parametrize("extra", [0, 1])
def test_the_limit_is_exact(tmp_path: Path, extra: int) -> None:
    """256 KiB are read, one byte more is refused."""
    path = tmp_path / "contract"
    path.write_bytes(b"#" * (MAX_CONTRACT_BYTES + extra))
    if extra:
        assert code_of(path) == "FileTooLarge"
    else:
        assert len(read_contract_file(path, SHOWN_AS)) == MAX_CONTRACT_BYTES


def test_a_huge_file_is_refused_without_being_read(tmp_path: Path) -> None:
    """100 MB (sparse here) are refused by their size alone."""
    path = tmp_path / "contract"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    assert code_of(path) == "FileTooLarge"


def test_a_file_that_tells_no_size_is_still_read_within_the_limit() -> None:
    """A kernel's file says that it holds 0 bytes: what counts is what is read."""
    path = Path("/proc/self/status")
    assert path.stat().st_size == 0
    assert read_contract_file(path, SHOWN_AS).startswith(b"Name:")


@pytest.mark.timeout(10)
def test_a_named_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """A FIFO that nobody writes to must not hold the agent for ever."""
    os.mkfifo(tmp_path / "contract")
    assert code_of(tmp_path / "contract") == "ContractFileNotRegular"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder can have the contract's name."""
    (tmp_path / "contract").mkdir()
    assert code_of(tmp_path / "contract") == "ContractFileNotRegular"


def test_a_device_is_refused(tmp_path: Path) -> None:
    """A link to a device that never ends is refused without being read."""
    (tmp_path / "contract").symlink_to("/dev/zero")
    assert code_of(tmp_path / "contract") == "ContractFileNotRegular"


def test_a_socket_is_refused(tmp_path: Path) -> None:
    """A socket cannot be opened as a file at all, which is no reason for another message."""
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tmp_path / "contract"))
        assert code_of(tmp_path / "contract") == "ContractFileNotRegular"


def test_nothing_at_all_is_missing(tmp_path: Path) -> None:
    """A file that is not there, or whose folder is a file, is missing."""
    (tmp_path / "file").write_bytes(b"")
    assert code_of(tmp_path / "absent") == "ContractFileMissing"
    assert code_of(tmp_path / "file" / "contract") == "ContractFileMissing"


def test_a_dangling_link_says_that_it_is_a_link(tmp_path: Path) -> None:
    """A name that `ls` shows must not be called absent: that would puzzle anyone."""
    (tmp_path / "contract").symlink_to("nowhere")
    with pytest.raises(ContractError) as caught:
        read_contract_file(tmp_path / "contract", SHOWN_AS)
    assert caught.value.problems[0].code == "ContractFileMissing"
    assert "link" in caught.value.problems[0].message


def test_a_link_to_itself_is_unreadable(tmp_path: Path) -> None:
    """A loop of links is neither a file nor absent."""
    (tmp_path / "contract").symlink_to("contract")
    assert code_of(tmp_path / "contract") == "ContractFileUnreadable"


def test_a_file_whose_reading_fails_is_unreadable() -> None:
    """Unreadable is never absent. Permissions stop nobody who is root, an I/O error does."""
    assert code_of(Path("/proc/self/mem")) == "ContractFileUnreadable"


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    """A daemon reads a contract a million times."""
    path = tmp_path / "contract"
    path.write_bytes(b"#" * (MAX_CONTRACT_BYTES + 1))
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - counted, not used
    for _ in range(5):
        code_of(path)
    assert len(before) == len(os.listdir("/proc/self/fd"))  # noqa: PTH208
