"""The cluster: kubeconfig, API server, and each permission that the agent uses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hostk8s_agent.cluster.asking_once import open_once
from hostk8s_agent.cluster.errors import ClusterForbiddenError, KubeconfigContextError
from hostk8s_agent.cluster.kubeconfig import find_kubeconfig, load_kubeconfig
from hostk8s_agent.cluster.requests import JSON, ClusterClient, Request
from hostk8s_agent.cluster.session import get_cluster_uid, get_server_version
from hostk8s_agent.doctor.findings import Finding, fail, ok, warn
from hostk8s_agent.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostk8s_agent.doctor.circumstances import Circumstances

# Never `make clean`: it removes the volume, and its data with it.
_RENEW = "kind delete cluster --name {}; make start"
# The oldest that the tests run on.
MIN_VERSION = (1, 20)

# What the agent asks for: group, resource, verbs. Server-side apply is a patch, and a create where there is none.
PERMISSIONS = (
    ("", "persistentvolumes", ("get", "list", "watch", "create", "patch", "delete")),
    ("storage.k8s.io", "storageclasses", ("get", "list", "watch", "create", "patch", "delete")),
    ("", "persistentvolumeclaims", ("list", "watch")),
    ("", "namespaces", ("get",)),
)


def check_cluster(found: Circumstances) -> Iterator[Finding]:
    """Give what is found of the cluster; no more once something is missing that the rest needs."""
    source = find_kubeconfig(
        found.workspace,
        os.environ,
        configured=found.settings.kubeconfig,
        cluster_name=found.cluster_name,
        chosen_context=found.settings.kube_context or "",
    )
    try:
        kubeconfig = load_kubeconfig(source)
    except ClusterError as error:
        if source.origin == "workspace default" and not source.paths[0].exists():
            yield warn("kubeconfig", "no cluster: data/manifests/ stands in for it", "make start")
        else:
            yield fail("kubeconfig", error.message, error.hint)
        return
    # What the agent was connected by before, the file does not say.
    problems = found.status["problems"] if found.status is not None else ()
    if told := next((one for one in problems if one["code"] == KubeconfigContextError.code), None):
        yield fail("kubeconfig", told["message"], told["hint"])
        return
    yield ok("kubeconfig", f"{kubeconfig.path}, context {kubeconfig.context}")
    try:
        with open_once(kubeconfig) as client:
            yield from _check_server(client, found, kubeconfig.path)
    except ClusterError as error:
        yield fail("API server", error.message, error.hint)


def _check_server(client: ClusterClient, found: Circumstances, path: str) -> Iterator[Finding]:
    version = get_server_version(client)
    yield _check_identity(client, found)
    parts = version.removeprefix("v").split(".")[:2]
    if all(part.isdecimal() for part in parts) and tuple(map(int, parts)) < MIN_VERSION:
        yield warn("API version", f"{version} is older than anything tested", _RENEW.format(found.cluster_name))
    else:
        yield ok("API version", version or "not told")
    denied = [
        f"{verb} {resource}"
        for group, resource, verbs in PERMISSIONS
        for verb in verbs
        if not _may(client, group, resource, verb)
    ]
    if denied:
        yield fail(
            "permissions",
            f"you may not {', '.join(denied)}",
            f"kind export kubeconfig --name {found.cluster_name} --kubeconfig {path}",
        )
    else:
        yield ok("permissions", "all that the agent asks for")


def _check_identity(client: ClusterClient, found: Circumstances) -> Finding:
    used = found.status["cluster"]["uid"] if found.status else ""
    try:
        uid = get_cluster_uid(client)
    except ClusterForbiddenError:
        # What exactly is denied is told by the permissions.
        return ok("API server", "answers")
    if used and used != uid:
        return fail("API server", "the agent is connected to another cluster", "hostk8s-agent service install")
    return ok("API server", "answers")


def check_mount(found: Circumstances) -> Iterator[Finding]:
    """Give what the agent has found by writing through the volume and reading in the nodes; nothing without one."""
    if found.status is None or not (words := found.status["cluster"].get("mount")):
        return
    stacks = found.status["stacks"]
    told = [*found.status["problems"], *(problem for stack in stacks for problem in stack["problems"])]
    problem = next((one for one in told if one["code"].startswith("NodeMount")), None)
    if problem is None:
        yield ok("mount probe", words)
    elif problem["code"] in {"NodeMountPartial", "NodeMountUnchecked"}:
        yield warn("mount probe", words, problem["hint"] or "hostk8s-agent status")
    else:
        yield fail("mount probe", words, problem["hint"] or "hostk8s-agent status")


def _may(client: ClusterClient, group: str, resource: str, verb: str) -> bool:
    """Ask the API server whether we may (SelfSubjectAccessReview)."""
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"group": group, "resource": resource, "verb": verb}},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = client.send(Request("create", path, f"ask whether we may {verb} {resource}", body=body, content_type=JSON))
    status = answer.get("status")
    return isinstance(status, dict) and status.get("allowed") is True
