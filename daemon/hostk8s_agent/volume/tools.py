"""What the archive API cannot do: rename, measure, remove. A node's own image does it, for a moment.

The engine has that image because it runs the cluster, and it holds perl (a part of every Debian), mv and rm. The
container has the volume and nothing else (see `HelperContainer.open_tool_container`); the program and its arguments
are a list, so that no text ever reaches a shell, and paths are arguments of the program, never a part of it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import docker.errors
import requests.exceptions

from hostk8s_agent.volume.access import TreeSize
from hostk8s_agent.volume.engine import NODE_LABEL, Engine
from hostk8s_agent.volume.errors import (
    DirectoryGoneError,
    EngineFailedError,
    ExchangeImpossibleError,
    ToolFailedError,
    ToolMissingError,
)
from hostk8s_agent.volume.translation import translate_os_error, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hostk8s_agent.errors import VolumeError
    from hostk8s_agent.volume.helper_life import HelperContainer

RENAME_SECONDS = 60.0
"""A rename takes none; a file system that hangs must not hold the agent for ever."""

WALK_SECONDS = 1800.0
"""Walking or removing a tree: half an hour is tens of millions of entries."""

_OUTPUT_LIMIT_CHARACTERS = 200
_NODE_IMAGES = ("kindest/node",)
_KEEP, _EXCHANGE = 1, 2  # renameat2(2)

# The number of renameat2 (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
_RENAMEAT2 = {"amd64": "316", "arm64": "276", "riscv64": "276", "ppc64le": "357", "s390x": "347"}

# The exit code is the error's number. -100 is AT_FDCWD; both paths are absolute.
_RENAME_PROGRAM = "exit(syscall($ARGV[0] + 0, -100, $ARGV[2], -100, $ARGV[3], $ARGV[1] + 0) == 0 ? 0 : $! + 0)"

# One line for each path: bytes of the regular files, entries, the newest modification; or "-" for no directory.
_MEASURE_PROGRAM = """
use strict;
for my $root (@ARGV) {
    my @of = lstat $root;
    if (!@of || !-d _) { print "-\\n"; next }
    my ($size, $entries, $newest, @left) = (0, 0, $of[9], $root);
    while (defined(my $folder = pop @left)) {
        opendir(my $open, $folder) or next;
        while (defined(my $name = readdir $open)) {
            next if $name eq "." || $name eq "..";
            my $path = "$folder/$name";
            my @found = lstat $path or next;
            $entries++;
            $newest = $found[9] if $found[9] > $newest;
            if (-d _) { push @left, $path } elsif (-f _) { $size += $found[7] }
        }
        closedir $open;
    }
    print "$size $entries $newest\\n";
}
"""


@dataclass(frozen=True, slots=True)
class VolumeTools:
    """Programs on the volume of a helper. Safe from several threads; every call raises a `VolumeError`.

    `find_image` names the image that serves, empty when there is none (see `find_node_image`).
    """

    engine: Engine
    helper: HelperContainer
    find_image: Callable[[], str]

    def rename(self, source: str, target: str) -> None:
        """Rename a directory; both are absolute paths of the container. The target does not exist.

        Raises `FileExistsError` when it does.
        """
        try:
            self._call_renameat2(_KEEP, source, target)
        except (ToolMissingError, ExchangeImpossibleError):
            # Without perl, or on a file system without the flag. `-n` replaces nothing, `-T` moves into nothing.
            code, words = self._run(("mv", "-T", "-n", "--", source, target), RENAME_SECONDS)
            if code != 0:
                raise _failed("mv", code, words) from None

    def exchange(self, first: str, second: str) -> None:
        """Let two directories change places."""
        try:
            self._call_renameat2(_EXCHANGE, first, second)
        except ToolMissingError as error:
            raise ExchangeImpossibleError(
                "two directories cannot change places in one step: the node's image has no perl",
                hint="they are moved one after the other instead",
            ) from error

    def measure(self, paths: Sequence[str]) -> tuple[TreeSize | None, ...]:
        """Return what each tree holds, None for what is no directory."""
        code, words = self._run(("perl", "-e", _MEASURE_PROGRAM, *paths), WALK_SECONDS)
        lines = words.splitlines()
        if code != 0 or len(lines) != len(paths):
            raise _failed("perl", code, words)
        return tuple(_parse_size(line) for line in lines)

    def remove(self, path: str) -> None:
        """Remove a tree for good."""
        code, words = self._run(("rm", "-rf", "--", path), WALK_SECONDS)
        if code != 0:
            raise _failed("rm", code, words)

    def _call_renameat2(self, flags: int, source: str, target: str) -> None:
        number = _RENAMEAT2.get(self.engine.architecture)
        if number is None:
            raise ToolMissingError(f"the engine's machine is a {self.engine.architecture}", hint="use mv")
        code, words = self._run(("perl", "-e", _RENAME_PROGRAM, number, str(flags), source, target), RENAME_SECONDS)
        if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
            raise ExchangeImpossibleError(
                "the file system that the volume lies on renames only one thing at a time",
                hint="directories are moved one after the other instead",
            )
        if code == errno.EEXIST:
            raise FileExistsError(code, os.strerror(code))
        if code == errno.ENOENT:
            raise DirectoryGoneError(f"could not rename {source}: it does not exist", hint="look what there is")
        if code != 0:
            error = translate_os_error(f"rename {source}", OSError(code, os.strerror(code)))
            raise error if not words else _failed("perl", code, words)

    def _run(self, command: Sequence[str], limit_seconds: float) -> tuple[int, str]:
        """Run a program once; return its exit code and what it printed."""
        client = self.engine.client
        attempt = f"run {command[0]} on the volume"
        with self.helper.open_tool_container(self._require_image(), command) as container_id:
            try:
                with translated(attempt):
                    client.start(container_id)
            except EngineFailedError as error:
                raise ToolMissingError(
                    f"the node's image has no {command[0]}: {error.message}", hint=_MISSING_HINT
                ) from error
            try:
                with translated(attempt):
                    ended = client.wait(container_id, timeout=limit_seconds)
                    words = client.logs(container_id, stdout=True, stderr=True)
            except requests.exceptions.RequestException as error:
                raise _failed(command[0], 0, "it did not end in time") from error
        return int(ended["StatusCode"]), bytes(words).decode("utf-8", "replace")

    def _require_image(self) -> str:
        if image := self.find_image():
            return image
        raise ToolMissingError(
            "this engine has neither a node of the cluster nor an image of one, and nothing else at hand can rename, "
            "measure or remove a directory",
            hint=_MISSING_HINT,
        )


_MISSING_HINT = "create the cluster, whose node's image serves, or run the agent as root on the engine's own machine"


def find_node_image(engine: Engine, cluster_name: str) -> str:
    """Return the image of a node, empty when the engine has none.

    That of the cluster's own node first, then of any cluster's, then an image of Kind that has no container.
    """
    client = engine.client
    with translated("look for the image of a node"):
        for filters in ({"label": f"{NODE_LABEL}={cluster_name}"}, {"label": NODE_LABEL}):
            for container in client.containers(all=True, filters=filters):
                if image := str(container.get("ImageID") or ""):
                    return image
        try:
            return str(client.inspect_container(f"{cluster_name}-control-plane")["Image"])
        except docker.errors.NotFound:
            pass
        for name in _NODE_IMAGES:
            for found in client.images(name=name):
                return str(found["Id"])
    return ""


def _parse_size(line: str) -> TreeSize | None:
    parts = line.split()
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):  # noqa: PLR2004 - as the program prints them
        return None
    return TreeSize(int(parts[0]), int(parts[1]), float(parts[2]))


def _failed(program: str, code: int, words: str) -> VolumeError:
    said = " ".join(words.split())[:_OUTPUT_LIMIT_CHARACTERS]
    return ToolFailedError(
        f"{program} on the volume failed with {code}{f': {said}' if said else ''}",
        hint="look into the engine's log; nothing is half moved: a rename happens, or does not",
    )
