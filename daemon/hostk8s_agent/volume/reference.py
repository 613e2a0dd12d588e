"""The reference that keeps the volume: a container that has it, so that the engine refuses to remove it.

Kind mounts the volume by the path of its files, so that the engine believes it unused: `docker volume prune`, and
HostK8s' own `make clean`, would take it with all its data. A tiny container that runs is left alone by
`docker container prune`, too. Where the engine has no image with a `sleep` in it, one that was created and never
started serves until there is one.

It stays when the agent stops: that is when nobody else watches over the volume. `hostk8s-agent volume --release` takes
it away, and the next start of the agent makes it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import docker.errors
import structlog

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.volume.engine import MANAGED_BY, Engine
from hostk8s_agent.volume.helper_life import EMPTY_IMAGE, EMPTY_IMAGE_TAG, ROLE_LABEL, remove_container, require_image
from hostk8s_agent.volume.translation import translated

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger()

REFERENCE_ROLE = "volume-reference"
KEEPS_LABEL = "hostk8s.io/keeps-volume"

REFERENCE_MADE = "volume.reference_made"
REFERENCE_FAILED = "volume.reference_failed"

_CONFLICT = 409
_MOUNTED_AT = "/volume"


def reference_name(volume: str) -> str:
    """The container's name, for instance `hostk8s-agent-keeps-hostk8s-pv-data`: it says what it is there for."""
    return f"hostk8s-agent-keeps-{volume}"


class VolumeReference:
    """The reference to one volume, whichever workspaces use it. Used from one thread at a time."""

    def __init__(
        self, engine: Engine, volume: str, *, find_image: Callable[[], str], require_same_volume: Callable[[], None]
    ) -> None:
        """Remember what is to be kept; nothing is made yet.

        `find_image` names an image that has `sleep`, empty when there is none. `require_same_volume` is asked before
        the container is made: the engine would make a missing volume by itself, and empty.
        """
        self._engine = engine
        self._volume = volume
        self._find_image = find_image
        self._require_same_volume = require_same_volume
        self._is_failing = False

    def ensure(self, *, improves: bool) -> None:
        """See to it that the container is there and runs (2 ms when it does); `improves` looks for an image to run.

        The work on the volume does not depend on it: what fails is logged once, and tried again at the next check.
        """
        try:
            self._ensure(improves=improves)
            self._is_failing = False
        except VolumeError as error:
            if not self._is_failing:
                log.warning(REFERENCE_FAILED, volume=self._volume, error=error.message)
            self._is_failing = True

    def _ensure(self, *, improves: bool) -> None:
        found = find_reference(self._engine, self._volume)
        if found is not None and self._has_volume(found):
            if found["State"].get("Running"):
                return
            if _runs_by_design(found):
                self._start(str(found["Id"]))
                return
            image = self._find_image() if improves else ""
            if not image:
                return
        else:
            image = self._find_image()
        if found is not None:
            remove_container(self._engine, str(found["Id"]))
        self._make(image)

    def _has_volume(self, found: dict[str, Any]) -> bool:
        return any(one.get("Name") == self._volume for one in found.get("Mounts") or ())

    def _make(self, image: str) -> None:
        self._require_same_volume()
        client = self._engine.client
        with translated(f"make the container that keeps the volume {self._volume}"):
            if not image:
                require_image(self._engine)
            host_config = client.create_host_config(
                network_mode="none",
                cap_drop=["ALL"],
                read_only=True,
                security_opt=["no-new-privileges"],
                # Back with the engine, also while no agent runs.
                restart_policy={"Name": "unless-stopped"} if image else None,
            )
            host_config["Mounts"] = [
                {
                    "Type": "volume",
                    "Source": self._volume,
                    "Target": _MOUNTED_AT,
                    "ReadOnly": True,
                    "VolumeOptions": {"NoCopy": True},
                }
            ]
            try:
                answer = client.create_container(
                    image or f"{EMPTY_IMAGE}:{EMPTY_IMAGE_TAG}",
                    entrypoint=["sleep"] if image else None,
                    command=["2147483647"] if image else ["never-started"],
                    name=reference_name(self._volume),
                    user="65534:65534",
                    host_config=host_config,
                    labels={**MANAGED_BY, ROLE_LABEL: REFERENCE_ROLE, KEEPS_LABEL: self._volume},
                    network_disabled=True,
                    # A `sleep` that is process 1 takes no notice of SIGTERM.
                    stop_signal="SIGKILL",
                )
            except docker.errors.APIError as error:
                if error.status_code == _CONFLICT:
                    return  # another workspace's agent was faster
                raise
        if image:
            self._start(str(answer["Id"]))
        log.info(REFERENCE_MADE, volume=self._volume, container=reference_name(self._volume), runs=bool(image))

    def _start(self, container_id: str) -> None:
        with translated(f"start the container that keeps the volume {self._volume}"):
            self._engine.client.start(container_id)


def find_reference(engine: Engine, volume: str) -> dict[str, Any] | None:
    """Return the container that keeps the volume as the engine describes it, None when there is none."""
    with translated(f"look for the container that keeps the volume {volume}"):
        try:
            found: dict[str, Any] = engine.client.inspect_container(reference_name(volume))
        except docker.errors.NotFound:
            return None
    labels = (found.get("Config") or {}).get("Labels") or {}
    return found if labels.get(ROLE_LABEL) == REFERENCE_ROLE else None


def remove_reference(engine: Engine, volume: str) -> bool:
    """Take the reference away; return whether there was one."""
    found = find_reference(engine, volume)
    if found is not None:
        remove_container(engine, str(found["Id"]))
    return found is not None


def _runs_by_design(found: dict[str, Any]) -> bool:
    return bool((found.get("Config") or {}).get("Entrypoint"))
