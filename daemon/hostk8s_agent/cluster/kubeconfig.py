"""Which kubeconfig holds, whether it changed, and whether it says enough to connect.

Nothing of the `kubernetes` package is imported here: finding out that there is no kubeconfig must cost nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import yaml

from hostk8s_agent.cluster.errors import (
    KubeconfigContextError,
    KubeconfigInvalidError,
    KubeconfigMissingError,
    KubeconfigUnreadableError,
)
from hostk8s_agent.cluster.yaml_text import parse_yaml
from hostk8s_agent.workspace import DEFAULT_CLUSTER_NAME, DEFAULT_KUBECONFIG, Workspace, read_environment_file

Origin = Literal["settings", "KUBECONFIG", ".env KUBECONFIG_PATH", "workspace default"]

FileSignature: TypeAlias = tuple[tuple[int, ...] | None, ...]
"""Inode, size and times of change (ns) of each file of a source, None for one that is not there."""

# A kubeconfig is a few kilobytes. What is larger is something else, and parsing it would hold everything up.
_SIZE_LIMIT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class KubeconfigSource:
    """Where the kubeconfig is looked for.

    `paths` are absolute, at least one; of several the first to define a name wins, as kubectl has it. `origin`
    says who named them. `context` is the one that a person has set: it alone is used. Else it is `preferred_context`
    where the kubeconfig has it; else `used_context`, by which this workspace was connected before; else the current
    one. A person's own kubeconfig leads to clusters that are not HostK8s': of one that is not below the workspace
    (`is_of_workspace`) the current context is used only if its server is on this machine, and in the place of another
    only if it is the only one and that was not Kind's. Whoever switches kubectl to another cluster does not move the
    agent.
    """

    paths: tuple[Path, ...]
    origin: Origin
    preferred_context: str = ""
    context: str = ""
    used_context: str = ""
    is_of_workspace: bool = False

    def __str__(self) -> str:
        return os.pathsep.join(str(path) for path in self.paths)


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """A kubeconfig that says enough to connect. `digest` is of all its bytes; `path` joins the files that exist."""

    path: str
    context: str
    server: str
    digest: str


def find_kubeconfig(
    workspace: Workspace,
    environment: Mapping[str, str] = os.environ,
    *,
    configured: Path | None = None,
    cluster_name: str | None = None,
    chosen_context: str = "",
) -> KubeconfigSource:
    """Return where the workspace's kubeconfig is, whether or not it exists yet.

    The first of these wins: `configured` (the setting), `KUBECONFIG` (several files, joined as kubectl has it),
    `KUBECONFIG_PATH` of the workspace's `.env`, `data/kubeconfig/config` of the workspace. Relative paths of the
    first two are below the current directory, of `.env` below the workspace. The context `kind-<cluster>` is
    preferred, because a personal KUBECONFIG may have another cluster as its current one; `chosen_context` wins.
    """
    variables = read_environment_file(workspace)
    cluster = cluster_name or variables.get("CLUSTER_NAME") or DEFAULT_CLUSTER_NAME
    context = f"kind-{cluster}"
    paths, origin = _find_paths(workspace, environment, configured, variables.get("KUBECONFIG_PATH"))
    is_of_workspace = all(path.resolve().is_relative_to(workspace.root.resolve()) for path in paths)
    return KubeconfigSource(paths, origin, context, chosen_context, is_of_workspace=is_of_workspace)


def _find_paths(
    workspace: Workspace, environment: Mapping[str, str], configured: Path | None, named: str | None
) -> tuple[tuple[Path, ...], Origin]:
    if configured is not None:
        return (_absolute(configured, Path.cwd()),), "settings"
    if given := [part for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]:
        return tuple(_absolute(Path(part), Path.cwd()) for part in given), "KUBECONFIG"
    if named:
        return (_absolute(Path(named), workspace.root),), ".env KUBECONFIG_PATH"
    return (workspace.root / DEFAULT_KUBECONFIG,), "workspace default"


def _absolute(path: Path, base: Path) -> Path:
    try:
        return base / path.expanduser()
    except RuntimeError:  # a user without a home folder
        return base / path


def sign_files(source: KubeconfigSource) -> FileSignature:
    """Return what changes when a file of `source` is written, replaced, made, removed or gets other permissions.

    Costs one stat a file.
    """
    return tuple(_sign(path) for path in source.paths)


def _sign(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    # With the time of the inode's change: a file that becomes readable changes in nothing else.
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def load_kubeconfig(source: KubeconfigSource) -> Kubeconfig:
    """Read and check the kubeconfig.

    Raises `KubeconfigMissingError` when none of the files exists, `KubeconfigUnreadableError` when one cannot be
    read, `KubeconfigInvalidError` when they do not lead to a server, `KubeconfigContextError` when they lead to one
    that is not this workspace's. No message holds any of their contents besides the names of contexts, clusters and
    users, and the server's address.
    """
    digest = hashlib.sha256()
    existing: list[Path] = []
    documents: list[Mapping[str, Any]] = []
    for path in source.paths:
        text = _read(path)
        if text is None:
            continue
        existing.append(path)
        digest.update(len(text).to_bytes(8, "big") + text)
        documents.append(_parse(path, text))
    if not existing:
        raise KubeconfigMissingError(
            f"there is no kubeconfig at {source} ({source.origin})",
            hint="start the cluster (make start), or set KUBECONFIG; the agent waits for the file",
        )
    joined = os.pathsep.join(str(one) for one in existing)
    context, server = _resolve(joined, documents, source)
    return Kubeconfig(joined, context, server, digest.hexdigest())


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            text = file.read(_SIZE_LIMIT_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KubeconfigUnreadableError(
            f"the kubeconfig {path} cannot be read: {error.strerror}",
            hint="make it a file that the agent's user may read",
        ) from error
    if len(text) > _SIZE_LIMIT_BYTES:
        raise _invalid(str(path), f"is larger than {_SIZE_LIMIT_BYTES} bytes")
    return text


def _parse(path: Path, text: bytes) -> Mapping[str, Any]:
    if not text.strip():
        raise _invalid(str(path), "is empty")
    place = ""
    try:
        documents = parse_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
    else:
        if len(documents) == 1 and isinstance(documents[0], Mapping):
            return documents[0]
    # `from None` by being outside of the except block: a YAML error quotes the text, and that holds tokens.
    raise _invalid(str(path), f"is no kubeconfig: it is not YAML, or cut short{place}")


def _resolve(path: str, documents: list[Mapping[str, Any]], source: KubeconfigSource) -> tuple[str, str]:
    """Return the context's name and the server's address."""
    contexts = _by_name(documents, "contexts")
    current = next((one["current-context"] for one in documents if one.get("current-context")), None)
    known = (one for one in (source.preferred_context, source.used_context) if one in contexts)
    chosen = source.context or next(known, "")
    name = chosen or current
    if not isinstance(name, str):
        raise _invalid(path, "names no current context")
    has_choice = len(contexts) > 1 or source.used_context == source.preferred_context
    if not chosen and source.used_context and has_choice and not source.is_of_workspace:
        raise _explain_gone(path, source.used_context, name)
    context = _member(contexts.get(name), "context")
    if context is None:
        raise _invalid(path, f"has no context {name}")
    cluster = _member(_by_name(documents, "clusters").get(context.get("cluster")), "cluster")
    if cluster is None:
        raise _invalid(path, f"has no cluster {context.get('cluster')}, which its context {name} uses")
    user = context.get("user")
    if user and _member(_by_name(documents, "users").get(user), "user") is None:
        raise _invalid(path, f"has no user {user}, whom its context {name} uses")
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith(("https://", "http://")):
        raise _invalid(path, f"gives no server for its cluster {context.get('cluster')}")
    # A name and a password in the address are no way to log in that Kubernetes has, and it is shown everywhere.
    scheme, _, rest = server.rstrip("/").partition("://")
    authority, slash, path_there = rest.partition("/")
    server = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path_there}"
    if not chosen and not source.is_of_workspace and not _is_this_machine(server):
        raise _explain_elsewhere(path, name, server)
    return name, server


def _is_this_machine(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    return host in {"localhost", "0.0.0.0", "::1", "host.docker.internal"} or host.startswith("127.")  # noqa: S104


def _explain_gone(path: str, name: str, current: str) -> KubeconfigContextError:
    return KubeconfigContextError(
        f"the kubeconfig {path} has the context {name} no more, by which this workspace's cluster was reached; its "
        f"current one, {current}, is not used in its place",
        hint="create the cluster again (make start), or bring the context back; if another cluster is meant: set "
        "kube_context to its context",
    )


def _explain_elsewhere(path: str, name: str, server: str) -> KubeconfigContextError:
    return KubeconfigContextError(
        f"the kubeconfig {path} leads to {server} by its current context {name}: a cluster elsewhere, which nobody has "
        "said is meant",
        hint=f"start the cluster (make start), or, if that one is meant: set kube_context to {name}",
    )


def _by_name(documents: list[Mapping[str, Any]], section: str) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for document in documents:
        entries = document.get(section)
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
                found.setdefault(entry["name"], entry)
    return found


def _member(entry: object, name: str) -> Mapping[str, Any] | None:
    member = entry.get(name) if isinstance(entry, Mapping) else None
    return member if isinstance(member, Mapping) else None


def _invalid(path: str, what: str) -> KubeconfigInvalidError:
    return KubeconfigInvalidError(
        f"the kubeconfig {path} {what}",
        hint="write it again (make start, or kind export kubeconfig); the agent reads it as soon as it changes",
    )
