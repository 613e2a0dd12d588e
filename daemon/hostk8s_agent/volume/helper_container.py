"""The way in everywhere else: the engine's archive API on a container that is never started."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from hostk8s_agent.volume import helper_moving
from hostk8s_agent.volume.archive import ContainerArchive
from hostk8s_agent.volume.errors import (
    AccessClosedError,
    EngineUnreachableError,
    HelperGoneError,
    VolumeGoneError,
)
from hostk8s_agent.volume.helper_applying import apply_actions
from hostk8s_agent.volume.helper_life import HelperContainer, HelperPlace
from hostk8s_agent.volume.helper_looking import Look, container_path, observe_path, require_directories
from hostk8s_agent.volume.mapping import Components, parse_moved_paths, parse_own_path, parse_volume_path
from hostk8s_agent.volume.tar_members import iterate_checked_members
from hostk8s_agent.volume.tar_rewriting import rewrite_members
from hostk8s_agent.volume.tools import VolumeTools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hostk8s_agent.errors import VolumeError
    from hostk8s_agent.plan.actions import DirectoryAction
    from hostk8s_agent.plan.observed import ObservedDirectory
    from hostk8s_agent.volume.access import AccessKind, TreeSize
    from hostk8s_agent.volume.engine import Engine
    from hostk8s_agent.volume.tree_access import ReportLoss

# The engine holds a lock on the container during each call: more threads bring nothing (measured: four HEADs
# at once take 1.7 ms each, one after the other 2.8 ms).
_THREADS = 4

_Result = TypeVar("_Result")


class HelperContainerAccess:
    """The volume through a helper container (see `helper_life`). Safe from several threads.

    `require_same_volume` raises when the engine or the volume is another one than at the start; see
    `HelperContainer`. `find_tool_image` names an image of the engine that has what renames a directory, empty when
    there is none; see `tools`.
    """

    def __init__(
        self,
        engine: Engine,
        place: HelperPlace,
        *,
        find_tool_image: Callable[[], str] = lambda: "",
        require_same_volume: Callable[[], None] = lambda: None,
        report_loss: ReportLoss = lambda _: None,
    ) -> None:
        self._engine = engine
        self._helper = HelperContainer(engine, place, require_same_volume)
        self._tools = VolumeTools(engine, self._helper, find_tool_image)
        self._report_loss = report_loss
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="volume-look")
        self._is_closed = False

    @property
    def access(self) -> AccessKind:
        """Which way in this is."""
        return "helper-container"

    @property
    def may_set_owner(self) -> bool:
        """Always: the engine does it."""
        return True

    def observe_directories(self, paths: Sequence[str]) -> tuple[ObservedDirectory, ...]:
        """Return what stands at each path, in the order of `paths`."""
        asked = [(path, parse_volume_path(path)) for path in paths]

        def observe(archive: ContainerArchive) -> tuple[ObservedDirectory, ...]:
            look = Look(archive)
            # The calling thread does a single path itself: a hand-over costs more than it brings.
            mapped = self._pool.map if len(asked) > 1 else map
            observed = tuple(mapped(lambda one: observe_path(look, *one), asked))
            if any(one.kind == "absent" for one in observed):
                archive.require_container()
            return observed

        return self._with_helper(observe)

    def apply_directories(self, actions: Sequence[DirectoryAction]) -> tuple[VolumeError | None, ...]:
        """Carry the actions out, in order, with one call to the engine; return for each None, or why it failed."""
        if not actions:
            return ()
        return self._with_helper(lambda archive: apply_actions(archive, actions))

    @contextmanager
    def stream_tree_out(self, path: str) -> Iterator[Iterable[bytes]]:
        """Open the tree below `path` as a tar stream (numeric owners, names relative to `path`, `.` first).

        Sub-second times, sockets and sparseness are lost (the engine's archive API has none), and the engine adds
        the name `root` to the owner 0.
        """
        components = parse_volume_path(path)
        attempt = f"read {path}"
        # With a trailing "." the engine names the members relative to the directory.
        source = f"{container_path(components)}/."
        with self._open_stream(components) as archive, archive.open_stream(source, attempt) as response:
            yield archive.iterate_stream(response, attempt)

    def stream_tree_in(self, path: str, chunks: Iterable[bytes]) -> None:
        """Extract a tar stream into `path`, a directory that exists and is empty.

        Each member is checked before it is sent. Raises `TarRefusedError` for a stream that is cut or would
        write outside; what was extracted before stays in `path`.
        """
        components = parse_volume_path(path)
        with self._open_stream(components) as archive:
            # At the root, because the engine refuses relative links that lead above where it extracts.
            folder = container_path(components).lstrip("/")
            body = rewrite_members(iterate_checked_members(chunks), folder)
            archive.write_tar("/", body, f"write {path}")
            require_directories(archive, components)

    def move_directory(self, source: str, target: str) -> None:
        """Rename a directory, in one step (see `VolumeAccess`)."""
        one, other = parse_moved_paths(source, target)
        self._with_helper(lambda archive: helper_moving.move(archive, self._tools, one, other))

    def exchange_directories(self, first: str, second: str) -> None:
        """Let two directories change places, in one step (see `VolumeAccess`)."""
        one, other = parse_moved_paths(first, second)
        self._with_helper(lambda archive: helper_moving.exchange(archive, self._tools, one, other))

    def move_entry(self, source: str, target: str) -> None:
        """Rename an entry of any kind, in one step (see `VolumeAccess`)."""
        one, other = parse_moved_paths(source, target)
        self._with_helper(lambda archive: helper_moving.move_entry(archive, self._tools, one, other))

    def exchange_entries(self, first: str, second: str) -> None:
        """Let two entries of any kind change places, in one step (see `VolumeAccess`)."""
        one, other = parse_moved_paths(first, second)
        self._with_helper(lambda archive: helper_moving.exchange_entries(archive, self._tools, one, other))

    def measure_trees(
        self, paths: Sequence[str], *, changed_since: float | None = None
    ) -> tuple[TreeSize | VolumeError, ...]:
        """Return what the tree at each path holds, or why that cannot be told, in the order of `paths`."""
        # The engine's archives have no change times.
        del changed_since
        places = [parse_volume_path(path) for path in paths]
        return self._with_helper(lambda archive: helper_moving.measure(archive, self._tools, places))

    def remove_tree(self, path: str) -> None:
        """Remove a tree in a folder of ours for good; one that does not exist is no error."""
        components = parse_own_path(path)
        self._with_helper(lambda archive: helper_moving.remove(archive, self._tools, components))

    def read_files(self, folder: str) -> Mapping[str, bytes]:
        """Return the small files in a folder of ours, by name; empty when there is no such folder."""
        components = parse_own_path(folder)
        return self._with_helper(lambda archive: helper_moving.read_files(archive, components))

    def write_file(self, path: str, content: bytes) -> None:
        """Write a small file into a folder of ours that exists. A reader may find it cut while it is written."""
        components = parse_own_path(path)
        self._with_helper(lambda archive: helper_moving.write_file(archive, components, content))

    def abandon(self) -> None:
        """Let go of everything on this side and ask the engine nothing: it is lost."""
        self._is_closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Remove the helper container."""
        self.abandon()
        self._helper.remove()

    @contextmanager
    def _open_stream(self, components: Components) -> Iterator[ContainerArchive]:
        self._with_helper(lambda archive: require_directories(archive, components))
        with self._helper.open_stream_container() as container_id:
            yield ContainerArchive(self._engine, container_id)

    def _with_helper(self, use: Callable[[ContainerArchive], _Result]) -> _Result:
        if self._is_closed:
            raise AccessClosedError("the helper container is not in use any more", hint="the agent tries again")
        try:
            container_id = self._helper.require_container()
            try:
                return use(ContainerArchive(self._engine, container_id))
            except HelperGoneError:
                self._helper.forget(container_id)
            return use(ContainerArchive(self._engine, self._helper.require_container()))
        except (EngineUnreachableError, VolumeGoneError) as error:
            self._report_loss(error)
            raise
