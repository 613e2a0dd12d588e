"""The helper container's life: made from an empty image, never started, exactly one, made again when it is lost.

The engine holds a lock on a container while an archive call on it lasts, so that a stream of minutes would stop every
look at a directory. Each stream therefore has a container of its own for as long as it lasts.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import docker.errors
import structlog

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.volume.engine import MANAGED_BY, Engine
from hostk8s_agent.volume.translation import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

log = structlog.get_logger()

EMPTY_IMAGE = "hostk8s-agent/empty"
EMPTY_IMAGE_TAG = "1"

VOLUME_FOLDER = "/volume"
"""Where the helper has the volume. Not the node's `/mnt/pv`: an absolute link in the volume must lead nowhere."""

ROLE_LABEL = "hostk8s.io/role"
HELPER_ROLE = "volume-helper"
STREAM_ROLE = "volume-stream"
TOOL_ROLE = "volume-tool"
WORKSPACE_LABEL = "hostk8s.io/workspace"
VOLUME_LABEL = "hostk8s.io/volume"

HELPER_CREATED = "volume.helper_created"
HELPER_REMOVED = "volume.helper_removed"
HELPER_LEFT = "volume.helper_left"


@dataclass(frozen=True, slots=True)
class HelperPlace:
    """Whose helper it is. `workspace` is the workspace's identity, `volume` the volume's name."""

    workspace: str
    volume: str

    @property
    def labels(self) -> dict[str, str]:
        """The labels by which its containers are found again after a crash."""
        return {**MANAGED_BY, WORKSPACE_LABEL: self.workspace, VOLUME_LABEL: self.volume}

    @property
    def container_name(self) -> str:
        """A name that the engine gives only once: two agents cannot make two helpers."""
        digest = hashlib.sha256(f"{self.workspace}\n{self.volume}".encode()).hexdigest()[:16]
        return f"hostk8s-agent-helper-{digest}"


class HelperContainer:
    """The one helper container of a workspace's volume. Safe from several threads."""

    def __init__(self, engine: Engine, place: HelperPlace, require_same_volume: Callable[[], None]) -> None:
        """Remember whose helper it is; nothing is made yet.

        `require_same_volume` raises when the engine or the volume is another one than before. It is asked
        before each creation: the engine would make a missing volume by itself, and empty.
        """
        self._engine = engine
        self._place = place
        self._require_same_volume = require_same_volume
        self._lock = threading.Lock()
        self._container_id = ""
        self._has_swept = False

    def require_container(self) -> str:
        """Return the container's ID. A leftover of an earlier run is used again, else one is made (about 15 ms)."""
        with self._lock:
            if not self._container_id:
                self._container_id = self._adopt() or self._create(HELPER_ROLE, self._place.container_name)
            return self._container_id

    @contextmanager
    def open_stream_container(self) -> Iterator[str]:
        """Make a container for one stream; it is removed afterwards, when the engine has let go of it."""
        # First the one helper: it sweeps away what a crash left, which must not happen to this container.
        self.require_container()
        container_id = self._create(STREAM_ROLE, None)
        try:
            yield container_id
        finally:
            try:
                remove_container(self._engine, container_id)
            except VolumeError as error:
                log.warning(HELPER_LEFT, volume=self._place.volume, error=error.message)

    @contextmanager
    def open_tool_container(self, image: str, command: Sequence[str]) -> Iterator[str]:
        """Make a container of an image that has `command`, not started yet; it is removed afterwards.

        It has the volume and nothing else: no network, a root file system that cannot be written, no capability but
        that of passing by modes and owners.
        """
        self.require_container()
        self._require_same_volume()
        client = self._engine.client
        with translated(f"make a container that runs {command[0]} on the volume {self._place.volume}"):
            host_config = client.create_host_config(
                network_mode="none",
                cap_drop=["ALL"],
                cap_add=["DAC_OVERRIDE", "FOWNER"],
                read_only=True,
                security_opt=["no-new-privileges"],
                # What it prints is read from there, whatever the engine's own choice is.
                log_config={"Type": "json-file", "Config": {}},
            )
            host_config["Mounts"] = [self._mount()]
            answer = client.create_container(
                image,
                entrypoint=[command[0]],
                command=list(command[1:]),
                user="0:0",
                working_dir="/",
                host_config=host_config,
                labels={**self._place.labels, ROLE_LABEL: TOOL_ROLE},
                network_disabled=True,
            )
        container_id = str(answer["Id"])
        try:
            yield container_id
        finally:
            try:
                remove_container(self._engine, container_id)
            except VolumeError as error:
                log.warning(HELPER_LEFT, volume=self._place.volume, error=error.message)

    def forget(self, container_id: str) -> None:
        """Take note that the container is gone: the next call makes a new one."""
        with self._lock:
            if self._container_id == container_id:
                self._container_id = ""

    def remove(self) -> None:
        """Remove the container, and every leftover with our labels. What cannot be removed is found by the next run."""
        with self._lock:
            self._container_id = ""
            remove_helpers(self._engine, self._place)

    def _adopt(self) -> str:
        """Return a leftover's ID, empty when there is none that is as we would make it; others are removed.

        Containers of streams and tools are leftovers only at the first time; later they may be in use.
        """
        kept = ""
        for container in _list_helpers(self._engine, self._place):
            is_passing = (container.get("Labels") or {}).get(ROLE_LABEL) in {STREAM_ROLE, TOOL_ROLE}
            if is_passing and self._has_swept:
                continue
            if not kept and not is_passing and self._is_as_made(container):
                kept = str(container["Id"])
            else:
                remove_container(self._engine, str(container["Id"]))
        self._has_swept = True
        return kept

    def _is_as_made(self, container: dict[str, Any]) -> bool:
        mounts = [(mount.get("Name"), mount.get("Destination")) for mount in container.get("Mounts") or ()]
        return (
            container.get("State") == "created"
            and container.get("Image") == f"{EMPTY_IMAGE}:{EMPTY_IMAGE_TAG}"
            and mounts == [(self._place.volume, VOLUME_FOLDER)]
        )

    def _create(self, role: str, name: str | None) -> str:
        self._require_same_volume()
        with translated(f"make the helper container for the volume {self._place.volume}"):
            require_image(self._engine)
            client = self._engine.client
            host_config = client.create_host_config(network_mode="none")
            host_config["Mounts"] = [self._mount()]
            answer = client.create_container(
                f"{EMPTY_IMAGE}:{EMPTY_IMAGE_TAG}",
                # The engine insists on a command; there is nothing in the image that could be run.
                command=["never-started"],
                name=name,
                host_config=host_config,
                labels={**self._place.labels, ROLE_LABEL: role},
                network_disabled=True,
            )
        container_id = str(answer["Id"])
        log.debug(HELPER_CREATED, container=container_id[:12], volume=self._place.volume)
        return container_id

    def _mount(self) -> dict[str, Any]:
        # Without nocopy the engine may copy the image's owner and mode onto an empty volume's root.
        return {
            "Type": "volume",
            "Source": self._place.volume,
            "Target": VOLUME_FOLDER,
            "VolumeOptions": {"NoCopy": True},
        }


def require_image(engine: Engine) -> None:
    """Import the empty image unless the engine has it."""
    client = engine.client
    try:
        client.inspect_image(f"{EMPTY_IMAGE}:{EMPTY_IMAGE_TAG}")
    except docker.errors.ImageNotFound:
        client.import_image_from_data(_render_empty_tar(), repository=EMPTY_IMAGE, tag=EMPTY_IMAGE_TAG)


def remove_helpers(engine: Engine, place: HelperPlace) -> None:
    """Remove the helper containers of one workspace's volume; what an error prevents is logged and left."""
    try:
        for container in _list_helpers(engine, place):
            remove_container(engine, str(container["Id"]))
    except VolumeError as error:
        log.warning(HELPER_LEFT, volume=place.volume, error=error.message)


def _list_helpers(engine: Engine, place: HelperPlace) -> list[dict[str, Any]]:
    with translated("look for helper containers"):
        filters = {"label": [f"{name}={value}" for name, value in place.labels.items()]}
        found: list[dict[str, Any]] = engine.client.containers(all=True, filters=filters)
        return found


def remove_container(engine: Engine, container_id: str) -> None:
    """Remove a container, whatever it does, with the volumes that its image made it have; one that is gone is none."""
    with translated("remove a helper container"):
        try:
            engine.client.remove_container(container_id, v=True, force=True)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            # 409: somebody else is removing it at this moment.
            if error.status_code != _CONFLICT:
                raise
    log.debug(HELPER_REMOVED, container=container_id[:12])


_CONFLICT = 409


def _render_empty_tar() -> bytes:
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    return empty.getvalue()
