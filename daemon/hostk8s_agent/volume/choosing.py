"""Which way into the Docker volume: its mountpoint where that is truly the volume, else the helper container."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors
import structlog

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.volume.direct import DirectAccess
from hostk8s_agent.volume.engine import MANAGED_BY, Engine, EngineIdentity, EngineVolume
from hostk8s_agent.volume.errors import AccessImpossibleError
from hostk8s_agent.volume.helper_container import HelperContainerAccess
from hostk8s_agent.volume.helper_life import ROLE_LABEL, WORKSPACE_LABEL, HelperPlace, remove_helpers
from hostk8s_agent.volume.tools import find_node_image
from hostk8s_agent.volume.translation import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hostk8s_agent.volume.state import ForcedAccess
    from hostk8s_agent.volume.tree_access import ReportLoss

log = structlog.get_logger()

PROBE_ROLE = "mountpoint-probe"
PROBE_LEFT = "volume.probe_left"

DockerAccess = DirectAccess | HelperContainerAccess

# No user of any system has these: finding them again proves that the owner was really set.
_PROBE_OWNER = 54321, 54322


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """What the way in is chosen from. `forced` other than auto allows that way alone."""

    place: HelperPlace
    cluster_name: str
    identity: EngineIdentity
    volume: EngineVolume
    forced: ForcedAccess
    require_same_volume: Callable[[], None]
    report_loss: ReportLoss


def open_access(engine: Engine, request: AccessRequest) -> DockerAccess:
    """Open the way in. Raises `AccessImpossibleError` when the forced one cannot be used."""
    if request.forced != "helper-container":
        reason = find_reason_against_direct(engine, request.identity, request.volume, request.place.workspace)
        if not reason:
            # A helper that an earlier run left is of no use any more.
            remove_helpers(engine, request.place)
            return DirectAccess(Path(request.volume.mountpoint), report_loss=request.report_loss)
        if request.forced == "direct":
            raise AccessImpossibleError(
                f"the volume cannot be reached directly: {reason}",
                hint="set volume_access to auto or helper-container, then restart the agent",
            )
    return HelperContainerAccess(
        engine,
        request.place,
        find_tool_image=lambda: find_node_image(engine, request.cluster_name),
        require_same_volume=request.require_same_volume,
        report_loss=request.report_loss,
    )


def find_reason_against_direct(engine: Engine, identity: EngineIdentity, volume: EngineVolume, workspace: str) -> str:
    """Return why the volume's mountpoint must not be used, empty when it may.

    `workspace` is the workspace's identity, for the label of what is made on the way.
    """
    if os.geteuid() != 0:
        return "the agent does not run as root"
    if engine.endpoint.socket_path is None:
        return "the engine is reached over the network"
    if identity.remaps_owners:
        return "the engine maps owners (rootless or userns-remap), so that a uid here is another one in the volume"
    if not volume.is_plain:
        return "the volume is of another driver than `local`, or mounts something"
    if not Path(volume.mountpoint).is_dir():
        return f"its mountpoint {volume.mountpoint} is no directory on this machine"
    return _probe(engine, Path(volume.mountpoint), workspace)


def _probe(engine: Engine, mountpoint: Path, workspace: str) -> str:
    """Return why the engine's volumes are not this machine's folders, empty when they are.

    A path that exists on both sides proves nothing: Docker Desktop's mountpoints are in its virtual machine, and a
    second engine may have a volume of the same name here. So a volume with a random name is made for a moment; only
    the engine that writes to this very file system can make it appear. Nothing is written to the user's volume.
    """
    labels = {ROLE_LABEL: PROBE_ROLE, WORKSPACE_LABEL: workspace}
    _remove_probes(engine, labels)
    name = f"hostk8s-agent-probe-{secrets.token_hex(16)}"
    probe = Path(engine.create_volume(name, labels).mountpoint)
    try:
        if probe.parent.name != name or not probe.is_dir():
            return "the engine's volumes are not on this machine's file system"
        if probe.parent.parent != mountpoint.parent.parent or probe.stat().st_dev != mountpoint.stat().st_dev:
            return "the volume does not lie beside the engine's other ones"
        os.chown(probe, *_PROBE_OWNER)
        found = probe.stat()
        if (found.st_uid, found.st_gid) != _PROBE_OWNER:
            return "owners cannot be set where the engine keeps its volumes"
        descriptor = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY)
        os.close(descriptor)
    except OSError as error:
        return f"{error.filename or mountpoint}: {error.strerror or error}"
    finally:
        _remove_probes(engine, labels)
    return ""


def _remove_probes(engine: Engine, labels: Mapping[str, str]) -> None:
    """Remove this workspace's probes, those of a crash included."""
    filters = {"label": [f"{key}={value}" for key, value in {**MANAGED_BY, **labels}.items()]}
    try:
        with translated("remove the probe volume"):
            for volume in engine.client.volumes(filters=filters)["Volumes"] or ():
                try:
                    engine.client.remove_volume(volume["Name"])
                except docker.errors.NotFound:
                    continue
    except VolumeError as error:
        log.warning(PROBE_LEFT, error=error.message)
