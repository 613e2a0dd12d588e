"""Rows of the fault catalogue that concern Docker and the volume."""

from __future__ import annotations

import io
import secrets
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from docker.errors import APIError
from tests.volume.conftest import BUSYBOX_IMAGE, Connect, EngineProxy, OwnVolume

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.plan.actions import ChangeDirectory, CreateDirectory, DirectoryAction
from hostk8s_agent.volume.direct import DirectAccess
from hostk8s_agent.volume.engine import Engine
from hostk8s_agent.volume.errors import DiskFullError, VolumeLostError
from hostk8s_agent.volume.helper_container import HelperContainerAccess
from hostk8s_agent.volume.helper_life import HelperPlace, remove_helpers
from hostk8s_agent.volume.reference import VolumeReference, remove_reference
from hostk8s_agent.volume.state import ForcedAccess, VolumeOptions
from reliability import Row

pytestmark = pytest.mark.engine

WaitUntil = Callable[..., None]
WAYS: tuple[ForcedAccess, ...] = ("direct", "helper-container")


@pytest.fixture
def empty_volume_name(docker: Engine, options: VolumeOptions) -> Iterator[Callable[[], VolumeOptions]]:
    """A function that names a volume of one trial's own; all of them are removed after the test."""
    made: list[VolumeOptions] = []

    def name() -> VolumeOptions:
        own = f"volume-test-{secrets.token_hex(6)}"
        made.append(replace(options, volume_name=own, workspace=f"workspace-{own}"))
        return made[-1]

    yield name
    for one in made:
        remove_helpers(docker, HelperPlace(one.workspace, one.volume_name))
        with suppress(APIError):
            docker.client.remove_volume(one.volume_name, force=True)


@pytest.mark.fault(
    "C2",
    "volume removed, or re-created empty, through both ways in",
    holds="never Ready; nothing is written, and nothing made in its place",
    target="0 of 200",
    short=4,
    full=200,
)
def test_a_volume_that_is_lost_is_never_used(
    row: Row, connect: Connect, docker: Engine, empty_volume_name: Callable[[], VolumeOptions], wait_until: WaitUntil
) -> None:
    """Whatever has its name afterwards stays empty until a person accepts the loss."""
    for trial in row.trials():
        with trial as number:
            comes_back = number % 4 >= 2
            chosen = replace(empty_volume_name(), forced_access=WAYS[number % 2])
            observed = connect(chosen, DOCKER_HOST=docker.endpoint.url)
            wait_until(observed.reaches("Connected"))
            access = observed.connection.current_access()
            assert access.apply_directories([CreateDirectory("/mnt/pv/a", 5, 6, 0o700, "absent")]) == (None,)
            remove_helpers(docker, HelperPlace(chosen.workspace, chosen.volume_name))
            began = time.monotonic()
            docker.client.remove_volume(chosen.volume_name)
            if comes_back:
                docker.client.create_volume(chosen.volume_name)
            wait_until(observed.reaches("VolumeLost"))
            row.measure("noticed after", time.monotonic() - began, "s")
            with pytest.raises(VolumeLostError):
                observed.connection.current_access()
            found = docker.find_volume(chosen.volume_name)
            assert (found is not None) is comes_back
            assert found is None or list(Path(found.mountpoint).iterdir()) == []
            # Of what came after the loss nothing said Connected.
            assert observed.states[observed.states.index("Connected") + 1 :].count("Connected") == 0
            observed.connection.stop()


@contextmanager
def running(work: Callable[[], None], pause_seconds: float = 0) -> Iterator[None]:
    """Do something over and over beside the test."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(pause_seconds):
            work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def render_tar(size: int) -> bytes:
    """A tree of one file."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as tar:
        folder = tarfile.TarInfo(".")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        entry = tarfile.TarInfo("./file")
        entry.size = size
        tar.addfile(entry, io.BytesIO(bytes(size)))
    return written.getvalue()


@pytest.mark.fault(
    "C3",
    "helper container removed over and over while it is used; its image removed; disk full",
    holds="right answers or an error, and no container is left",
    target="0 leaked",
    short=2,
    full=50,
)
@pytest.mark.usefixtures("tool_cluster")
def test_a_helper_that_goes_in_mid_use_leaks_nothing(row: Row, own_volume: OwnVolume) -> None:
    """What was answered is true, what failed says so, and at the end there is nothing of ours in the engine."""
    client = own_volume.engine.client
    full = client.create_volume(
        f"{own_volume.name}-full", driver="local", driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=256k"}
    )["Name"]

    # Something that runs: the engine unmounts what nobody uses, and a tmpfs is empty then.
    user = VolumeReference(own_volume.engine, full, find_image=lambda: BUSYBOX_IMAGE, require_same_volume=lambda: None)
    user.ensure(improves=True)

    def prune() -> None:
        for container in own_volume.list_helpers():
            with suppress(APIError):
                client.remove_container(container, force=True)

    try:
        for trial in row.trials():
            with trial as number:
                path = f"/mnt/pv/t{number}"
                with (
                    closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access,
                    running(prune, 0.05),
                ):
                    answers = 0
                    for attempt in range(5):
                        with suppress(VolumeError):
                            action = CreateDirectory(f"{path}/d{attempt}", 26, 27, 0o750, "absent")
                            if access.apply_directories([action]) == (None,):
                                answers += 1
                                assert (own_volume.root / f"t{number}/d{attempt}").stat().st_uid == 26
                        with suppress(VolumeError):
                            (seen,) = access.observe_directories([f"{path}/d{attempt}"])
                            is_there = (own_volume.root / f"t{number}/d{attempt}").is_dir()
                            # "unreadable" is the error of that one path.
                            assert seen.kind in {"directory" if is_there else "absent", "unreadable"}, seen
                    row.measure("answered in spite of it", answers / 5 * 100, "%", statistic="mean")
                with suppress(APIError):
                    client.remove_image("hostk8s-agent/empty:1", force=True)
                crammed = HelperPlace(own_volume.workspace, full)
                with closing(HelperContainerAccess(own_volume.engine, crammed)) as access:
                    action = CreateDirectory(f"/mnt/pv/t{number}", 0, 0, 0o755, "absent")
                    assert access.apply_directories([action]) == (None,)
                    with pytest.raises(DiskFullError):
                        access.stream_tree_in(f"/mnt/pv/t{number}", [render_tar(1 << 20)])
                assert own_volume.list_helpers() == []
                filters = {"label": [f"{key}={value}" for key, value in crammed.labels.items()]}
                assert client.containers(all=True, filters=filters) == []
    finally:
        remove_reference(own_volume.engine, full)
        client.remove_volume(full, force=True)


@pytest.mark.fault(
    "C4",
    "another engine answers behind the endpoint, in the middle of the work",
    holds="it is refused, and no operation is sent to it",
    target="0 operations sent",
    short=2,
    full=50,
)
def test_another_engine_gets_no_operation(
    row: Row,
    connect: Connect,
    empty_volume_name: Callable[[], VolumeOptions],
    proxy: EngineProxy,
    wait_until: WaitUntil,
) -> None:
    """The ID is asked for before anything else, so that the one question is all that the other one ever sees."""
    for trial in row.trials():
        with trial as number:
            proxy.replaced_bytes = (b"", b"")
            proxy.start()
            chosen = replace(empty_volume_name(), forced_access=WAYS[number % 2])
            observed = connect(chosen, DOCKER_HOST=f"unix://{proxy.path}")
            wait_until(observed.reaches("Connected"))
            former = observed.connection.state().engine_id
            access = observed.connection.current_access()
            proxy.replaced_bytes = (former.encode(), former[::-1].encode())
            proxy.stop()
            proxy.start()
            wait_until(observed.reaches("Refused"))
            asked = proxy.accepted
            with pytest.raises(VolumeError):
                observed.connection.current_access()
            if chosen.forced_access == "helper-container":
                with pytest.raises(VolumeError):
                    access.apply_directories([CreateDirectory("/mnt/pv/a", 5, 6, 0o700, "absent")])
            assert proxy.accepted == asked
            observed.connection.stop()
            proxy.stop()


@pytest.mark.fault(
    "C5",
    "a process swaps a directory and a link to the outside while the directory is made and changed",
    holds="nothing outside the volume changes",
    target="0 of 1000",
    short=20,
    full=1000,
)
def test_a_swapped_link_leads_nowhere(row: Row, own_volume: OwnVolume, tmp_path: Path) -> None:
    """Each of both ways in, on the directory itself and on one in it."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    before = outside.stat()
    raced = own_volume.root / "raced"

    def swap() -> None:
        with suppress(OSError):
            raced.symlink_to(outside)
        with suppress(OSError):
            raced.unlink()
        with suppress(OSError):
            raced.mkdir()
        with suppress(OSError):
            raced.rmdir()
        # With something in it by now.
        with suppress(OSError):
            raced.rename(own_volume.root / f"kept-{secrets.token_hex(4)}")

    direct = DirectAccess(own_volume.root)
    helper = HelperContainerAccess(own_volume.engine, own_volume.helper)
    actions: list[DirectoryAction] = [
        CreateDirectory("/mnt/pv/raced", 26, 27, 0o777, "absent"),
        CreateDirectory("/mnt/pv/raced/inner", 26, 27, 0o777, "absent"),
        ChangeDirectory("/mnt/pv/raced", 26, 27, 0o777, changes_owner=True, changes_mode=True, reason="", drift=()),
    ]
    with closing(direct), closing(helper), running(swap):
        for trial in row.trials():
            with trial as number:
                access = direct if number % 2 else helper
                access.apply_directories([actions[number // 2 % 3]])
                access.observe_directories(["/mnt/pv/raced/inner"])
                after = outside.stat()
                assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
                assert list(outside.iterdir()) == []
