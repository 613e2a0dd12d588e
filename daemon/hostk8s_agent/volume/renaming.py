"""Renaming without replacing, and exchanging two names: system calls that Python's library leaves out.

renameat2(2) on Linux (3.15 and later; every file system that Docker keeps volumes on knows both flags), renamex_np(2)
on macOS.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
from typing import NamedTuple

_LINUX = "renameat2", 1, 2
_MACOS = "renameatx_np", 4, 2


class _Call(NamedTuple):
    function: ctypes._NamedFuncPointer
    keep: int
    exchange: int


@functools.cache
def _find_call() -> _Call | None:
    name, keep, exchange = _MACOS if sys.platform == "darwin" else _LINUX
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except AttributeError:
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return _Call(function, keep, exchange)


def rename(source: tuple[int, str], target: tuple[int, str]) -> None:
    """Rename an entry: each of the two is an open folder and a name in it. Raises `FileExistsError` for a target.

    Where the file system has no such rename, the target is looked for before: a folder of ours that nobody else
    writes to is the place where that is enough.
    """
    call = _find_call()
    try:
        _invoke(call, call.keep if call else 0, source, target)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
            raise
        _require_absent(target)
        os.rename(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0])


def exchange(first: tuple[int, str], second: tuple[int, str]) -> None:
    """Let two entries change places. Raises an `OSError` of ENOSYS or EINVAL where the system does not know how."""
    call = _find_call()
    _invoke(call, call.exchange if call else 0, first, second)


def _invoke(call: _Call | None, flags: int, first: tuple[int, str], second: tuple[int, str]) -> None:
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call.function(first[0], os.fsencode(first[1]), second[0], os.fsencode(second[1]), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _require_absent(target: tuple[int, str]) -> None:
    try:
        os.stat(target[1], dir_fd=target[0], follow_symlinks=False)
    except FileNotFoundError:
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
