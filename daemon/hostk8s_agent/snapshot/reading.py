"""A directory of the volume as a tar stream, by the best way that is at hand.

Where the tree can be opened on this machine, GNU tar reads it: it keeps holes, extended attributes and ACLs, and is
faster than anything written in Python. It never follows a link below its start, which it is given as a descriptor and
not by name. Everywhere else the volume's own stream serves, and what it cannot keep is told.
"""

from __future__ import annotations

import functools
import os
import re
import select
import shutil
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from hostk8s_agent.snapshot.errors import CaptureFailedError
from hostk8s_agent.volume.tree_access import TreeAccess

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hostk8s_agent.volume.access import VolumeAccess

CHUNK_BYTES: Final = 1 << 20
_PIPE_BYTES = 1 << 20
# fcntl(2), Linux alone: F_SETPIPE_SZ.
_SET_PIPE_SIZE = 1031
_MAX_NAMED = 1000
_QUIET_SECONDS = 0.5
_SOME_FILES_DIFFER = 1

LOST_BY_HELPER = (
    "extended attributes but security.capability, and ACLs",
    "fractions of a second in times",
    "holes in files: a restore writes zeros",
)
LOST_BY_OWN_READER = ("extended attributes and ACLs", "holes in files: a restore writes zeros")

# The same content gives the same stream: sorted names, no process id in the names of headers, no access time.
CREATE_OPTIONS = (
    "--create",
    "--file=-",
    "--format=pax",
    "--sort=name",
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    "--numeric-owner",
    "--sparse",
    "--xattrs",
    "--xattrs-include=*",
    "--acls",
    "--no-selinux",
    "--quoting-style=escape",
)
_CHANGED = re.compile(r"^\S*tar: (.*): (?:file changed as we read it|File removed before we read it|File shrank .*)$")


@dataclass(slots=True)
class TreeStream:
    """A stream that is being read; an empty chunk means that nothing has come for a moment.

    `changed` is whole when the stream has ended; paths relative to the directory.
    """

    chunks: Iterable[bytes]
    lost: tuple[str, ...] = ()
    changed: list[str] = field(default_factory=list)


@contextmanager
def open_tree(access: VolumeAccess, path: str) -> Iterator[TreeStream]:
    """Open the directory at a contract's path as a tar stream.

    Raises `CaptureFailedError`, also while it is read, when the tree cannot be read whole, and the `VolumeError`s of
    the way in. Files that vanish or change meanwhile are no error: they are in `changed`.
    """
    program = find_gnu_tar()
    if isinstance(access, TreeAccess) and program:
        with access.open_directory(path) as descriptor, _run_tar(program, descriptor, path) as stream:
            yield stream
        return
    lost = LOST_BY_OWN_READER if isinstance(access, TreeAccess) else LOST_BY_HELPER
    with access.stream_tree_out(path) as chunks:
        yield TreeStream(chunks, lost)


@functools.cache
def find_gnu_tar() -> str:
    """Return the GNU tar of this machine, empty where there is none that can be started in a descriptor."""
    if not Path("/proc/self/fd").is_dir():
        return ""
    for name in ("tar", "gtar"):
        program = shutil.which(name)
        if program is None:
            continue
        asked = subprocess.run([program, "--version"], capture_output=True, check=False, timeout=10)  # noqa: S603
        if b"GNU tar" in asked.stdout:
            return program
    return ""


def build_environment() -> dict[str, str]:
    """Return what tar and find are started with: messages in English, names as bytes, none of our own variables."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def descriptor_folder(descriptor: int) -> str:
    """Return the name by which a child process changes into an open directory before it starts."""
    return f"/proc/self/fd/{descriptor}"


@contextmanager
def _run_tar(program: str, descriptor: int, path: str) -> Iterator[TreeStream]:
    process = subprocess.Popen(  # noqa: S603 - fixed arguments, no shell
        [program, *CREATE_OPTIONS, "."],
        cwd=descriptor_folder(descriptor),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=build_environment(),
        bufsize=0,
    )
    listener = _Listener(process.stderr)
    try:
        stream = TreeStream(())
        stream.chunks = _iterate(process, listener, stream, path)
        yield stream
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        listener.join()
        if process.stdout is not None:
            process.stdout.close()


def _iterate(process: subprocess.Popen[bytes], listener: _Listener, stream: TreeStream, path: str) -> Iterator[bytes]:
    if process.stdout is None:
        raise AssertionError("it was asked for a pipe")
    output = process.stdout.fileno()
    widen_pipe(output)
    while True:
        while not select.select([output], [], [], _QUIET_SECONDS)[0]:
            # A disk that stalls must not hold up a stop: whoever reads looks meanwhile whether it is to go on.
            yield b""
        if not (chunk := os.read(output, CHUNK_BYTES)):
            break
        yield chunk
    code = process.wait()
    listener.join()
    stream.changed += listener.changed
    if code not in (0, _SOME_FILES_DIFFER):
        raise CaptureFailedError(
            f"{path} could not be read whole: {listener.last or f'tar ended with {code}'}",
            hint="mend what it names, then take the snapshot again; nothing was added to the repository",
        )


def widen_pipe(descriptor: int) -> None:
    """Let a pipe hold 1 MiB instead of 64 KiB, where the system can: a tenth of the switches between the two ends."""
    try:
        import fcntl  # noqa: PLC0415 - of this one call

        fcntl.fcntl(descriptor, _SET_PIPE_SIZE, _PIPE_BYTES)
    except OSError:
        # Over the user's limit (pipe(7), pipe-user-pages-soft), or not Linux: it is a matter of speed alone.
        return


class _Listener:
    """Reads what tar says, so that it never waits, and keeps what matters."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        self.changed: list[str] = []
        self.last = ""
        self._pipe = pipe
        self._thread = threading.Thread(target=self._run, name="snapshot-tar-messages", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until tar has said everything."""
        self._thread.join()

    def _run(self) -> None:
        if self._pipe is None:
            return
        with self._pipe:
            for line in self._pipe:
                text = line.decode("utf-8", "replace").rstrip()
                if match := _CHANGED.match(text):
                    if len(self.changed) < _MAX_NAMED:
                        self.changed.append(match[1].removeprefix("./"))
                elif "Exiting with failure status" not in text:
                    self.last = text.partition(": ")[2] or text
