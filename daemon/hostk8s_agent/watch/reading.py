"""Reading a contract file, whatever stands there: never blocks, never reads more than a contract may hold."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NoReturn

from hostk8s_agent.errors import ContractError, Problem

if TYPE_CHECKING:
    from pathlib import Path

# The limit of contract/reading.py, kept a second time so that nothing larger ever gets into memory.
MAX_CONTRACT_BYTES = 256 * 1024

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_contract_file(path: Path, shown_as: str) -> bytes:
    """Return the bytes of the contract file at `path`; `shown_as` is what problems call it.

    A symbolic link to a regular file is read. Raises `ContractError` with exactly one problem:
    `ContractFileMissing`, `ContractFileNotRegular`, `FileTooLarge` or `ContractFileUnreadable`.
    """
    try:
        # Looked at before it is opened, because opening a device can have effects, and again once it is open,
        # because it may have been exchanged in between.
        _require_regular(path.stat(), shown_as)
        # O_NONBLOCK: a FIFO put there in that moment would hold us until somebody writes to it (open(2)).
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            _require_regular(os.fstat(descriptor), shown_as)
            return _read_bounded(descriptor, shown_as)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError) as error:
        _refuse_missing(path, shown_as, error)
    except OSError as error:
        raise _refusal(
            "ContractFileUnreadable",
            f"the file cannot be read ({error.strerror or type(error).__name__})",
            "make it a file that the agent's user may read",
            shown_as,
        ) from error


def _require_regular(status: os.stat_result, shown_as: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "no file")
        raise _refusal(
            "ContractFileNotRegular",
            f"there is {kind} where the contract should be",
            "put a regular file in its place, or give it another name",
            shown_as,
        )
    if status.st_size > MAX_CONTRACT_BYTES:
        raise _too_large(shown_as)


def _read_bounded(descriptor: int, shown_as: str) -> bytes:
    # The size that fstat tells may be out of date, or 0 in /proc: only reading to the end tells.
    chunks = bytearray()
    while len(chunks) <= MAX_CONTRACT_BYTES:
        chunk = os.read(descriptor, MAX_CONTRACT_BYTES + 1 - len(chunks))
        if not chunk:
            return bytes(chunks)
        chunks += chunk
    raise _too_large(shown_as)


def _refuse_missing(path: Path, shown_as: str, cause: OSError) -> NoReturn:
    if path.is_symlink():
        raise _refusal(
            "ContractFileMissing",
            "the contract is a link that leads nowhere",
            "create the file that it points to, or remove the link",
            shown_as,
        ) from cause
    raise _refusal(
        "ContractFileMissing", "there is no such file", "check the path, or create the contract", shown_as
    ) from cause


def _too_large(shown_as: str) -> ContractError:
    return _refusal(
        "FileTooLarge",
        f"the file is larger than {MAX_CONTRACT_BYTES // 1024} KiB, which no contract is",
        "make sure that this is the contract and not something else",
        shown_as,
    )


def _refusal(code: str, message: str, hint: str, shown_as: str) -> ContractError:
    return ContractError((Problem(code, message, hint, shown_as),))
