"""The supervised connection, against the real engine behind a proxy that starts and stops like one."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.plan.actions import CreateDirectory
from hostk8s_agent.volume.engine import Engine
from hostk8s_agent.volume.errors import EngineChangedError, EngineUnreachableError
from hostk8s_agent.volume.state import Pace, VolumeOptions

if TYPE_CHECKING:
    from tests.volume.conftest import EngineProxy, OwnVolume

from tests.volume.conftest import Connect

WaitUntil = Callable[..., None]


def write_context(home: Path, name: str, url: str) -> None:
    """Write a Docker context as the Docker client does, and choose it."""
    folder = home / ".docker/contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": url}}}))
    (home / ".docker/config.json").write_text(json.dumps({"currentContext": name}))


def test_without_any_docker_the_host_directory_serves(
    connect: Connect, options: VolumeOptions, wait_until: WaitUntil
) -> None:
    """A bare machine works: directories appear below the workspace."""
    observed = connect(options)
    wait_until(observed.reaches("Absent"))
    access = observed.connection.current_access()
    assert access.apply_directories([CreateDirectory("/mnt/pv/a/b", 5, 6, 0o750, "absent")]) == (None,)
    assert (options.host_directory / "a/b").stat().st_mode & 0o7777 == 0o750
    assert observed.connection.state().access == "host-directory"
    wait_until(lambda: observed.states == ["Absent"])


def test_looking_alone_makes_no_host_directory(connect: Connect, options: VolumeOptions, wait_until: WaitUntil) -> None:
    """An observation on a bare machine reads as absent and writes nothing."""
    observed = connect(options)
    wait_until(observed.reaches("Absent"))
    assert observed.connection.current_access().observe_directories(["/mnt/pv/a"])[0].kind == "absent"
    assert not options.host_directory.exists()


def test_a_workspace_that_used_docker_waits_for_it(
    connect: Connect, options: VolumeOptions, wait_until: WaitUntil
) -> None:
    """Where Docker was used before, its absence never turns into a host directory."""
    observed = connect(replace(options, expects_docker=True))
    wait_until(observed.reaches("Unreachable"))
    with pytest.raises(EngineUnreachableError, match="no Docker endpoint"):
        observed.connection.current_access()
    assert not options.host_directory.exists()


@pytest.mark.engine
def test_a_missing_volume_is_created(
    connect: Connect, options: VolumeOptions, engine: str, docker: Engine, volume: str, wait_until: WaitUntil
) -> None:
    """The volume comes with the connection; root on the engine's machine gets the direct way in."""
    observed = connect(options, DOCKER_HOST=engine)
    wait_until(observed.reaches("Connected"))
    assert docker.find_volume(volume) is not None
    state = observed.connection.state()
    assert (state.access, state.endpoint, state.origin) == ("direct", engine, "DOCKER_HOST")
    assert state.engine_id == docker.identify().engine_id
    assert state.version


@pytest.mark.engine
def test_a_command_that_only_looks_creates_no_volume(
    connect: Connect, options: VolumeOptions, engine: str, docker: Engine, volume: str, wait_until: WaitUntil
) -> None:
    """Without leave to create, a missing volume is said and stays missing."""
    observed = connect(replace(options, may_create_volume=False), DOCKER_HOST=engine)
    wait_until(observed.reaches("Unreachable"))
    problem = observed.connection.state().problem
    assert problem is not None
    assert problem.code == "VolumeGone"
    assert docker.find_volume(volume) is None


@pytest.mark.engine
def test_the_probe_for_the_mountpoint_leaves_nothing(
    connect: Connect, options: VolumeOptions, engine: str, docker: Engine, volume: str, wait_until: WaitUntil
) -> None:
    """Choosing the way in leaves no volume but the workspace's, and nothing in it but its ID."""
    observed = connect(options, DOCKER_HOST=engine)
    wait_until(observed.reaches("Connected"))
    filters = {"label": f"hostk8s.io/workspace={options.workspace}"}
    assert not docker.client.volumes(filters=filters)["Volumes"]
    found = docker.find_volume(volume)
    assert found is not None
    assert [one.name for one in Path(found.mountpoint).iterdir()] == [".hostk8s-agent"]


@pytest.mark.engine
@pytest.mark.usefixtures("volume")
def test_a_dead_socket_is_waited_for_and_noticed_quickly(
    connect: Connect, options: VolumeOptions, proxy: EngineProxy, wait_until: WaitUntil
) -> None:
    """DOCKER_HOST without an engine is Unreachable; the engine that comes is noticed within a second or two."""
    observed = connect(options, DOCKER_HOST=f"unix://{proxy.path}", pace=Pace())
    wait_until(observed.reaches("Unreachable"))
    problem = observed.connection.state().problem
    assert problem is not None
    assert (problem.code, "its socket does not exist" in problem.message) == ("EngineUnreachable", True)
    began = time.monotonic()
    proxy.start()
    wait_until(observed.reaches("Connected"))
    assert time.monotonic() - began < 3
    wait_until(lambda: observed.states == ["Unreachable", "Connected"])


@pytest.mark.engine
@pytest.mark.usefixtures("volume")
def test_a_lost_engine_is_noticed_and_found_again(
    connect: Connect, options: VolumeOptions, proxy: EngineProxy, wait_until: WaitUntil
) -> None:
    """An engine that ends is noticed at once, at the pace of production; operations say why they fail."""
    proxy.start()
    observed = connect(options, DOCKER_HOST=f"unix://{proxy.path}", pace=Pace())
    wait_until(observed.reaches("Connected"))
    began = time.monotonic()
    proxy.stop()
    wait_until(observed.reaches("Unreachable"))
    assert time.monotonic() - began < 2
    with pytest.raises(EngineUnreachableError):
        observed.connection.current_access()
    proxy.start()
    wait_until(observed.reaches("Connected"))
    wait_until(lambda: observed.states == ["Connected", "Unreachable", "Connected"])


@pytest.mark.engine
@pytest.mark.usefixtures("volume")
def test_an_engine_that_hangs_is_noticed_within_ten_seconds(
    connect: Connect, options: VolumeOptions, proxy: EngineProxy, wait_until: WaitUntil
) -> None:
    """A half-open engine accepts and never answers: the checks give up in time."""
    proxy.start()
    observed = connect(options, DOCKER_HOST=f"unix://{proxy.path}", pace=Pace())
    wait_until(observed.reaches("Connected"))
    began = time.monotonic()
    proxy.is_frozen = True
    wait_until(observed.reaches("Unreachable"))
    assert time.monotonic() - began < 10
    proxy.stop()


def test_an_engine_that_refuses_is_asked_a_few_times_a_minute(
    connect: Connect, options: VolumeOptions, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """While nothing changes, attempts follow the back-off, not the cheap looks, and cost next to no time."""
    attempts: list[float] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "dead.sock"))
        listener.listen()

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    attempts.append(time.monotonic())
                    client.close()

        thread = threading.Thread(target=refuse)
        thread.start()
        began, cpu = time.monotonic(), time.process_time()
        observed = connect(options, DOCKER_HOST=f"unix://{tmp_path}/dead.sock")
        wait_until(lambda: time.monotonic() - began > 3)
        spent = time.process_time() - cpu
        observed.connection.stop()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    # 0.8 s to 1.6 s, then 1.6 s to 3.2 s: at most three attempts in three seconds.
    assert 1 <= len(attempts) <= 3
    wait_until(lambda: observed.states == ["Unreachable"])
    assert spent < 1


@pytest.mark.engine
def test_the_host_directory_serves_until_an_engine_answers(
    connect: Connect, options: VolumeOptions, proxy: EngineProxy, volume: str, wait_until: WaitUntil
) -> None:
    """A known socket that turns up with an engine behind it takes over from the host directory."""
    observed = connect(options, sockets=(proxy.path,))
    wait_until(observed.reaches("Absent"))
    proxy.start()
    wait_until(observed.reaches("Connected"))
    assert observed.connection.state().origin == "socket"
    assert observed.connection.state().volume == volume
    wait_until(lambda: observed.states == ["Absent", "Connected"])


@pytest.mark.engine
@pytest.mark.usefixtures("volume")
def test_the_docker_context_is_followed(
    connect: Connect, options: VolumeOptions, engine: str, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """The current context of the user's own Docker client names the engine."""
    write_context(tmp_path / "home", "colima", engine)
    observed = connect(options)
    wait_until(observed.reaches("Connected"))
    assert observed.connection.state().origin == "context colima"


@pytest.mark.engine
@pytest.mark.usefixtures("volume")
def test_a_context_that_is_switched_later_moves_nothing(
    connect: Connect, options: VolumeOptions, proxy: EngineProxy, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """After `docker context use`, and a restart of the engine, the agent is still with the engine it began with."""
    home = tmp_path / "home"
    write_context(home, "first", f"unix://{proxy.path}")
    proxy.start()
    observed = connect(options)
    wait_until(observed.reaches("Connected"))
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other.sock"))
        other.listen()
        other.settimeout(0)
        write_context(home, "other", f"unix://{tmp_path}/other.sock")
        proxy.stop()
        wait_until(observed.reaches("Unreachable"))
        proxy.start()
        wait_until(observed.reaches("Connected"))
        with pytest.raises(BlockingIOError):
            other.accept()
    assert observed.connection.state().endpoint == f"unix://{proxy.path}"


@pytest.mark.parametrize("url", ["tcp://192.0.2.1:2375", "ssh://user@host", "tcp://engine.example:2376"])
def test_an_engine_on_another_machine_is_refused(
    connect: Connect, options: VolumeOptions, tmp_path: Path, url: str, wait_until: WaitUntil
) -> None:
    """A context that leads elsewhere is refused, with a hint, and no host directory takes its place."""
    write_context(tmp_path / "home", "prod", url)
    observed = connect(options)
    wait_until(observed.reaches("Refused"))
    problem = observed.connection.state().problem
    assert problem is not None
    assert (problem.code, url in problem.message, bool(problem.hint)) == ("EndpointRefused", True, True)
    with pytest.raises(VolumeError):
        observed.connection.current_access()
    assert not options.host_directory.exists()


@pytest.mark.engine
@pytest.mark.usefixtures("volume")
def test_an_unknown_context_is_an_error_until_it_is_mended(
    connect: Connect, options: VolumeOptions, engine: str, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """A context that does not exist never falls back to a default socket; putting it right is noticed."""
    home = tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    (home / ".docker/config.json").write_text('{"currentContext": "gone"}')
    observed = connect(options, sockets=(Path(engine.removeprefix("unix://")),))
    wait_until(observed.reaches("Refused"))
    problem = observed.connection.state().problem
    assert problem is not None
    assert problem.code == "ContextUnknown"
    write_context(home, "gone", engine)
    wait_until(observed.reaches("Connected"))


@pytest.mark.engine
def test_another_engine_behind_the_endpoint_is_refused_until_the_restart(
    connect: Connect, options: VolumeOptions, proxy: EngineProxy, volume: str, docker: Engine, wait_until: WaitUntil
) -> None:
    """After the engine's ID has changed nothing more is asked, not even whether the volume exists."""
    proxy.start()
    observed = connect(options, DOCKER_HOST=f"unix://{proxy.path}")
    wait_until(observed.reaches("Connected"))
    former = observed.connection.state().engine_id
    docker.client.remove_volume(volume)
    proxy.replaced_bytes = (former.encode(), former[::-1].encode())
    proxy.stop()
    proxy.start()
    wait_until(observed.reaches("Refused"))
    with pytest.raises(EngineChangedError, match="another Docker engine"):
        observed.connection.current_access()
    asked = proxy.accepted
    never = threading.Event()
    never.wait(0.5)
    assert proxy.accepted == asked
    assert docker.find_volume(volume) is None


@pytest.mark.engine
def test_stopping_leaves_no_helper_container(
    connect: Connect, options: VolumeOptions, engine: str, own_volume: OwnVolume, wait_until: WaitUntil
) -> None:
    """The helper container that was made on the way goes with the connection; the volume stays."""
    named = replace(
        options, volume_name=own_volume.name, workspace=own_volume.workspace, forced_access="helper-container"
    )
    observed = connect(named, DOCKER_HOST=engine)
    wait_until(observed.reaches("Connected"))
    observed.connection.current_access().observe_directories(["/mnt/pv/a"])
    assert len(own_volume.list_helpers()) == 1
    observed.connection.stop()
    assert own_volume.list_helpers() == []
    assert own_volume.root.is_dir()


@pytest.mark.engine
@pytest.mark.usefixtures("volume")
def test_a_check_beats(connect: Connect, options: VolumeOptions, engine: str, wait_until: WaitUntil) -> None:
    """The heartbeat moves on while the connection lives."""
    observed = connect(options, DOCKER_HOST=engine)
    wait_until(observed.reaches("Connected"))
    before = observed.connection.heartbeat
    wait_until(lambda: observed.connection.heartbeat > before)
