"""Where directories are made and how they are reached: Docker, its volume, the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field


class StorageSettings(BaseModel):
    """Where directories are made and how they are reached: Docker, its volume, the cluster."""

    volume_name: Annotated[
        str,
        Field(
            pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$",
            description="The Docker volume. HostK8s' Kind configuration mounts hostk8s-pv-data at /mnt/pv.",
        ),
    ] = "hostk8s-pv-data"
    volume_backend: Annotated[
        Literal["auto", "docker", "host-directory"],
        Field(
            description="Where directories are made. auto: in the Docker volume where Docker is to be had, else in "
            "data/pv/ of the workspace."
        ),
    ] = "auto"
    volume_access: Annotated[
        Literal["auto", "direct", "helper-container"],
        Field(
            description="The way into the Docker volume. auto: direct where its mountpoint is writable by us, else "
            "through a container that is created and never started."
        ),
    ] = "auto"
    keep_volume: Annotated[
        bool,
        Field(
            description="Whether a tiny container refers to the Docker volume, so that docker volume rm and prune "
            "leave it. On: Kind mounts it in a way that the engine does not count."
        ),
    ] = True
    deprecated_folders: Annotated[
        bool,
        Field(
            description="Whether data/storage/, data/pv/ and data/postgres/ of the workspace are kept as well. Off: "
            "HostK8s keeps everything in the Docker volume since its ADR-012."
        ),
    ] = False
    docker_endpoint: Annotated[
        str | None,
        Field(description="The engine, as unix:///path or tcp://host. Unset: DOCKER_HOST, the context, known sockets."),
    ] = None
    allow_remote_docker: Annotated[
        bool,
        Field(description="Whether an engine elsewhere may be used. Off: a changed Docker context must not move data."),
    ] = False
    kubeconfig: Annotated[
        Path | None,
        Field(
            description="The kubeconfig. Unset: KUBECONFIG, else KUBECONFIG_PATH of .env, else data/kubeconfig/config."
        ),
    ] = None
    kube_context: Annotated[
        str | None,
        Field(
            description="The kubeconfig's context. Unset: kind-<cluster_name>, else the one used before, else the "
            "current one, in a file outside of the workspace only of a server on this machine."
        ),
    ] = None
    cluster_name: Annotated[
        str | None,
        Field(description="The Kind cluster's name. Unset: CLUSTER_NAME of .env, else hostk8s."),
    ] = None
    kubernetes_events: Annotated[
        bool,
        Field(
            description="Whether what concerns a PersistentVolume is told on it, as events: kubectl describe pv "
            "shows them. At most four at once, and three a minute."
        ),
    ] = True
