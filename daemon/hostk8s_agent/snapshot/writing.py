"""A checked tar stream into an empty directory of the volume, by the best way that is at hand."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from hostk8s_agent.snapshot.errors import RestoreFailedError
from hostk8s_agent.snapshot.picking import select_members
from hostk8s_agent.snapshot.reading import build_environment, descriptor_folder, find_gnu_tar, widen_pipe
from hostk8s_agent.volume.tree_access import TreeAccess

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hostk8s_agent.volume.access import VolumeAccess

EXTRACT_OPTIONS = (
    "--extract",
    "--file=-",
    "--preserve-permissions",
    "--numeric-owner",
    "--xattrs",
    "--xattrs-include=*",
    "--acls",
    "--no-selinux",
    "--delay-directory-restore",
    "--warning=no-timestamp",
)


def write_tree(access: VolumeAccess, path: str, chunks: Iterable[bytes], left_out: Sequence[str]) -> None:
    """Extract a stream into the directory at a contract's path, which is empty. `kept_durable` is around it.

    The stream was checked entry by entry (`EntryChecker`). `left_out` are the paths of its device nodes. Raises
    `RestoreFailedError`, what `chunks` raises, and the `VolumeError`s of the way in; what was written before stays.
    """
    program = find_gnu_tar()
    if not isinstance(access, TreeAccess) or not program:
        unwanted = set(left_out)
        access.stream_tree_in(path, select_members(chunks, lambda name: name not in unwanted) if unwanted else chunks)
        return
    owner = "--same-owner" if access.may_set_owner else "--no-same-owner"
    # Ours begin with `./`; those of an archive that somebody else has made need not.
    excluded = [f"--exclude={begin}{name}" for name in left_out for begin in ("./", "")]
    with access.open_directory(path) as descriptor:
        process = subprocess.Popen(  # noqa: S603 - fixed options, no shell, names behind an equals sign
            [program, *EXTRACT_OPTIONS, owner, "--no-wildcards", "--anchored", *excluded],
            cwd=descriptor_folder(descriptor),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=build_environment(),
            bufsize=0,
        )
        _feed(process, chunks, path)


def _feed(process: subprocess.Popen[bytes], chunks: Iterable[bytes], path: str) -> None:
    if process.stdin is None or process.stderr is None:
        raise AssertionError("it was asked for pipes")
    try:
        widen_pipe(process.stdin.fileno())
        # A broken pipe is tar's end; why it ended is in its own words, below.
        with suppress(BrokenPipeError):
            for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    view = view[os.write(process.stdin.fileno(), view) :]
        process.stdin.close()
        # It says little, and only when it fails: less than a pipe holds until then.
        words = process.stderr.read().decode("utf-8", "replace").strip()
    except OSError as error:
        process.kill()
        raise RestoreFailedError(
            f"the tree for {path} could not be written: {error.strerror}", hint="nothing was replaced; restore again"
        ) from error
    except BaseException:
        process.kill()
        raise
    finally:
        process.stdin.close()
        process.stderr.close()
        process.wait()
    if process.returncode != 0:
        first = words.splitlines()[0].partition(": ")[2] if words else f"tar ended with {process.returncode}"
        raise RestoreFailedError(
            f"the tree for {path} could not be written: {first}",
            hint="nothing was replaced; make space or mend what it names, then restore again",
        )
