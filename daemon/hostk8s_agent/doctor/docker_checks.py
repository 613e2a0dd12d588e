"""Docker: which engine, whether it answers and is the right one, the volume, the node, the clock."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.doctor.findings import Finding, fail, ok, warn
from hostk8s_agent.errors import AgentError, VolumeError
from hostk8s_agent.volume.endpoint import find_endpoint
from hostk8s_agent.volume.engine import Engine, ask_runs_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostk8s_agent.doctor.circumstances import Circumstances

MAX_CLOCK_DIFFERENCE_SECONDS = 5.0
MIN_FREE_SHARE = 0.05


def check_docker(found: Circumstances) -> Iterator[Finding]:
    """Give what is found of Docker; no more once something is missing that the rest needs."""
    name = found.cluster_name
    try:
        endpoint = find_endpoint(found.endpoint_sources, lambda one: ask_runs_node(one, name))
    except VolumeError as error:
        yield fail("Docker endpoint", error.message, error.hint)
        return
    if endpoint is None:
        yield warn("Docker endpoint", "no Docker on this machine: data/pv/ stands in for the volume", "install Docker")
        return
    yield ok("Docker endpoint", f"{endpoint.url} ({endpoint.origin})")
    try:
        engine = Engine(endpoint)
    except VolumeError as error:
        path = endpoint.socket_path
        if path is not None and path.exists() and not os.access(path, os.W_OK):
            yield fail("Docker engine", f"you may not use {path}", "sudo usermod -aG docker $USER, then log in anew")
        else:
            yield fail("Docker engine", error.message, error.hint or "start Docker")
        return
    try:
        yield from _check_engine(engine, found)
    except AgentError as error:
        yield fail("Docker engine", error.message, error.hint)
    finally:
        engine.close()


def _check_engine(engine: Engine, found: Circumstances) -> Iterator[Finding]:
    identity = engine.identify()
    yield ok("Docker engine", f"version {identity.version}")
    used = found.status["docker"]["engineId"] if found.status else ""
    if used and used != identity.engine_id:
        yield fail(
            "engine in use",
            "the agent uses another engine than this shell would",
            f"export DOCKER_HOST={found.status['docker']['endpoint'] if found.status else ''} (the agent's), or "
            "hostk8s-agent service install (this shell's)",
        )
    else:
        yield ok("engine in use", f"the agent's own, {used}" if used else "no agent has one in use")
    yield _check_clock(engine)
    volume_name = found.settings.volume_name
    volume = engine.find_volume(volume_name)
    if volume is None:
        yield warn("volume", f"there is no volume {volume_name} yet", found.start_command)
    else:
        yield ok("volume", f"{volume_name} at {volume.mountpoint}")
        yield _check_volume_space(Path(volume.mountpoint))
    name = found.cluster_name
    if not engine.runs_node(name):
        yield warn("node", f"no container of a Kind cluster {name}", "make start")
        return
    running = engine.client.containers(filters={"label": f"io.x-k8s.kind.cluster={name}", "status": "running"})
    if not running:
        stopped = engine.client.containers(all=True, filters={"label": f"io.x-k8s.kind.cluster={name}"})
        names = " ".join(sorted(str(one["Names"][0]).lstrip("/") for one in stopped)) or f"{name}-control-plane"
        yield fail("node", f"the container of the cluster {name} does not run", f"docker start {names}")
        return
    yield ok("node", f"the container of the cluster {name} runs")
    mounted = [mount for one in running for mount in one.get("Mounts", ()) if mount.get("Destination") == "/mnt/pv"]
    sources = {str(mount.get("Source")) for mount in mounted} | {str(mount.get("Name")) for mount in mounted}
    if volume is not None and not sources & {volume.mountpoint, volume_name}:
        yield fail(
            "mount",
            f"/mnt/pv in the node is not the volume {volume_name}: data would go with the node",
            # Never `make clean`: it removes the volume, and its data with it. What is in the node would go, too.
            f"docker cp {name}-control-plane:/mnt/pv saved-pv && hostk8s-agent kind-config > kind.yaml && "
            f"kind delete cluster --name {name} && kind create cluster --name {name} --config kind.yaml",
        )
    else:
        yield ok("mount", f"/mnt/pv in the node is the volume {volume_name}")


def _check_clock(engine: Engine) -> Finding:
    told = str(engine.client.info().get("SystemTime", ""))
    try:
        # Nanoseconds are more than Python reads.
        there = datetime.fromisoformat(f"{told[:19]}+00:00" if told.endswith("Z") else told[:19] + told[-6:])
    except ValueError:
        return ok("clock", "the engine does not tell its time")
    difference = abs(there.timestamp() - time.time())
    if difference > MAX_CLOCK_DIFFERENCE_SECONDS:
        return warn("clock", f"the engine's clock is {difference:.0f} s off", "restart Docker, or set the time")
    return ok("clock", "the engine's is the same")


def _check_volume_space(mountpoint: Path) -> Finding:
    try:
        found = os.statvfs(mountpoint)
    except OSError:
        # In a virtual machine, or not ours to look into.
        return ok("disk of the volume", "only Docker can look into it: docker system df -v")
    free, size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    told = f"{free / 1024**3:.1f} GiB of {size / 1024**3:.1f} GiB free"
    if free < size * MIN_FREE_SHARE:
        return warn("disk of the volume", told, "docker system df")
    return ok("disk of the volume", told)
