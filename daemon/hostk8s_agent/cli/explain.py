"""`explain`: why something is as it is, and what would change it, from the status and what the cluster's claims say."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.columns import wrap
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import find_screen, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.cli.status import load_status
from hostk8s_agent.errors import AgentError
from hostk8s_agent.status.model import render_json
from hostk8s_agent.workspace import DEFAULT_CLUSTER_NAME, read_environment_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hostk8s_agent.cli.explain_verbs import ExplainedKind
    from hostk8s_agent.cli.output import OutputFormat
    from hostk8s_agent.cluster.binding import ClaimFinding
    from hostk8s_agent.cluster.requests import ClusterClient
    from hostk8s_agent.workspace import Workspace

Document = dict[str, Any]


class NothingToExplainError(AgentError):
    """There is nothing of that name."""

    code = "NothingToExplain"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What something is, why, and what would change it: sentences, each in its own."""

    kind: str
    name: str
    state: str
    because: tuple[str, ...]
    to_change: tuple[str, ...]
    is_well: bool


def explain(kind: ExplainedKind, name: str, output: OutputFormat, directory: Path | None) -> ExitCode:
    """Show the explanation; return OK when what is explained is as it should be."""
    workspace = choose_workspace(directory)
    document = load_status(workspace, None)
    if kind == "pvc":
        claim = find_claim_name(workspace, document, name)
        explanation = explain_claim(document, claim, lambda: find_claim(workspace, claim))
    else:
        explanation = {"stack": explain_stack, "directory": explain_directory, "pv": explain_volume}[kind](
            document, name
        )
    if output == "table":
        screen = find_screen()
        write("\n".join(wrap(f"{explanation.kind} {explanation.name} is {explanation.state}", "", screen)))
        for line in explanation.because:
            write("\n".join(wrap(f"because {line}", "  ", screen)))
        for line in explanation.to_change:
            write("\n".join(wrap(f"to change that: {line}", "  ", screen)))
    else:
        write_document(render_json(explanation), output)
    return ExitCode.OK if explanation.is_well else ExitCode.NOT_READY


def explain_stack(document: Document, name: str) -> Explanation:
    """Explain a stack by its own words, its problems, and what is away that it needs."""
    for stack in document["stacks"]:
        if stack["name"] == name:
            is_well = stack["state"] == "Ready"
            told = (stack["message"], *(_tell(one) for one in stack["problems"]), *_find_causes(document, stack))
            because = tuple(dict.fromkeys(told))
            to_change = [one["hint"] for one in stack["problems"] if one["hint"]]
            if is_well:
                to_change = [f"edit {stack['file']} and save it"]
            return Explanation("stack", name, stack["state"], because, tuple(to_change), is_well)
    if left := [one for one in document.get("leftBehind", ()) if one["stack"] == name]:
        since = (f"nothing was changed in {one['path']} since {one['since']}" for one in left)
        back = f"bring {left[0]['file']} back, and it is used again"
        return Explanation(
            kind="stack",
            name=name,
            state="gone",
            because=("its contract is gone, and so are its objects", *since),
            to_change=(back, "see what it holds: hostk8s-agent orphans"),
            is_well=False,
        )
    raise _nothing("stack", name, [stack["name"] for stack in document["stacks"]])


def explain_directory(document: Document, name: str) -> Explanation:
    """Explain a directory, by its path or as `stack/name`."""
    known = []
    for stack in document["stacks"]:
        for one in stack["directories"]:
            known.append(one["path"])
            if name in {one["path"], f"{stack['name']}/{one['name']}"}:
                is_well = one["state"] == "Ready"
                asked = (
                    f"{stack['file']} asks for it as {one['name']}: owner {one['owner']}, permissions "
                    f"{one['permissions']}"
                )
                because = (asked, *filter(None, [one["message"]]), *_find_causes(document, one))
                to_change = _hints_about(stack, one["path"], one["name"])
                if is_well:
                    to_change = (f"edit the directory {one['name']} in {stack['file']}; data in it stays as it is",)
                return Explanation("directory", one["path"], one["state"], because, to_change, is_well)
    raise _nothing("directory", name, known)


def explain_volume(document: Document, name: str) -> Explanation:
    """Explain a PersistentVolume."""
    known = []
    for stack, volume in _list_volumes(document):
        known.append(volume["name"])
        if volume["name"] != name:
            continue
        is_well = volume["state"] == "Ready"
        phase = f", {volume['phase']} in the cluster" if volume["phase"] else ", not in the cluster"
        asked = f"class {volume['storageClass']}, {volume['capacity']}"
        because = [f"the directory {volume['directory']} of {stack['file']} asks for it: {asked}"]
        because += filter(None, [volume["message"]])
        if volume["claim"]:
            because.append(f"the claim {volume['claim']} holds it")
        elif volume.get("reservedFor"):
            because.append(f"it is kept for the claim {volume['reservedFor']}, which held it before")
        elif is_well:
            because.append("no claim has asked for it")
        because += _find_causes(document, volume)
        to_change = _hints_about(stack, name, volume["directory"])
        if is_well and not volume["claim"]:
            to_change = (f"make a claim of class {volume['storageClass']} that asks for at most {volume['capacity']}",)
        return Explanation("pv", name, f"{volume['state']}{phase}", tuple(because), to_change, is_well)
    raise _nothing("pv", name, known)


def explain_claim(document: Document, name: str, ask: Callable[[], ClaimFinding]) -> Explanation:
    """Explain a claim by what the API server has, which `ask` finds; where nobody can be asked by what is known here.

    What is known of one that a volume of ours holds needs no asking.
    """
    for stack, volume in _list_volumes(document):
        if volume["claim"] == name:
            because = (f"the volume {volume['name']} of the stack {stack['name']} is bound to it",)
            return Explanation("pvc", name, "Bound", because, (), is_well=True)
    try:
        found = ask()
    except AgentError as error:
        return _explain_unseen_claim(document, name, error.message)
    kept = [
        f"the volume {volume['name']} of the stack {stack['name']} is kept for it"
        for stack, volume in _list_volumes(document)
        if volume.get("reservedFor") == name
    ]
    return Explanation("pvc", name, found.state, (*kept, *found.because), found.to_change, found.state == "Bound")


def find_claim(workspace: Workspace, name: str) -> ClaimFinding:
    """Ask the API server why the claim is as it is. Raises the `ClusterError` of why it cannot be asked."""
    # Of this one kind: they cost a quarter of a second.
    from hostk8s_agent.cluster.binding import judge_claim  # noqa: PLC0415
    from hostk8s_agent.cluster.claim_ground import load_claim_ground  # noqa: PLC0415

    with _ask_cluster(workspace) as client:
        return judge_claim(load_claim_ground(client, name))


def find_claim_name(workspace: Workspace, document: Document, given: str) -> str:
    """Return the one claim that is meant, as `namespace/name`, where the namespace may have been left out."""
    namespace, slash, claim = given.partition("/")
    if slash and namespace and claim and "/" not in claim:
        return given
    meant: set[str] = set()
    if not slash:
        from hostk8s_agent.cluster.claim_ground import list_claims_named  # noqa: PLC0415 - of this one kind

        meant = {volume["claim"] for _, volume in _list_volumes(document) if volume["claim"].endswith(f"/{given}")}
        with suppress(AgentError), _ask_cluster(workspace) as client:
            meant.update(list_claims_named(client, given))
    if len(meant) == 1:
        return meant.pop()
    if meant:
        raise NothingToExplainError(
            f"{len(meant)} claims are named {given}", hint=f"say which: {', '.join(sorted(meant))}"
        )
    raise NothingToExplainError(
        f"there is no claim {given!r}", hint="name it as NAMESPACE/NAME, for instance sample/one"
    )


def _ask_cluster(workspace: Workspace) -> AbstractContextManager[ClusterClient]:
    from hostk8s_agent.cluster.asking_once import open_once  # noqa: PLC0415 - of this one kind
    from hostk8s_agent.cluster.kubeconfig import find_kubeconfig, load_kubeconfig  # noqa: PLC0415 - the same
    from hostk8s_agent.settings import load_settings  # noqa: PLC0415 - the same

    settings = load_settings(workspace)
    given = settings.cluster_name or read_environment_file(workspace).get("CLUSTER_NAME")
    source = find_kubeconfig(
        workspace,
        os.environ,
        configured=settings.kubeconfig,
        cluster_name=given or DEFAULT_CLUSTER_NAME,
        chosen_context=settings.kube_context or "",
    )
    return open_once(load_kubeconfig(source))


def _explain_unseen_claim(document: Document, name: str, reason: str) -> Explanation:
    """Explain a claim by the volumes of all stacks: one that is kept for it, or tells of it."""
    for stack, volume in _list_volumes(document):
        if volume.get("reservedFor") == name:
            because = (
                f"the volume {volume['name']} of the stack {stack['name']} is kept for it, and it is not bound yet",
                *filter(None, [volume["message"]]),
            )
            return Explanation("pvc", name, "not bound", because, _hints_about(stack, volume["name"]), is_well=False)
    told = [
        (stack, problem)
        for stack in document["stacks"]
        for problem in stack["problems"]
        if name in f"{problem['message']} {problem['hint']}"
    ]
    free = [volume for _stack, volume in _list_volumes(document) if volume["state"] == "Ready" and not volume["claim"]]
    offers = (
        "volumes without a claim are: "
        + ", ".join(f"{one['name']} (class {one['storageClass']}, {one['capacity']})" for one in free)
        if free
        else "no volume of this workspace is without a claim"
    )
    return Explanation(
        "pvc",
        name,
        "held by no volume of this workspace",
        (*(_tell(problem) for _stack, problem in told), offers, f"the claim itself was not seen: {reason}"),
        (
            *(problem["hint"] for _stack, problem in told if problem["hint"]),
            "a claim is bound to a volume of its storageClassName that has its size and its access modes at least",
            f"its own fields: kubectl describe pvc --namespace {name.replace('/', ' ', 1)}",
        ),
        is_well=False,
    )


def _list_volumes(document: Document) -> Iterator[tuple[Document, Document]]:
    return ((stack, volume) for stack in document["stacks"] for volume in stack["volumes"])


def _find_causes(document: Document, part: Document) -> list[str]:
    """What is away that it waits for."""
    if part["state"] == "Ready":
        return []
    causes = []
    if document["agent"]["state"] == "NotRunning":
        causes.append("no agent is running, so that nobody looks and nothing is changed")
    for name, label in (("docker", "Docker"), ("cluster", "the cluster")):
        state = document[name]["state"]
        if state not in {"Connected", "Absent"} and document["agent"]["state"] != "NotRunning":
            how = document[name]["message"] or f"{label} is {state}"
            causes.append(how)
    return causes


def _hints_about(stack: Document, *names: str) -> tuple[str, ...]:
    """The hints of the stack's problems that name it, else of all."""
    about = [one for one in stack["problems"] if any(name in one["message"] for name in names)]
    return tuple(one["hint"] for one in about or stack["problems"] if one["hint"])


def _tell(problem: Document) -> str:
    place = ":".join(str(problem[part]) for part in ("file", "line", "column") if problem.get(part) is not None)
    return f"{problem['message']}{f' ({place})' if place else ''}"


def _nothing(kind: str, name: str, known: list[str]) -> NothingToExplainError:
    import difflib  # noqa: PLC0415 - for this alone

    near = difflib.get_close_matches(name, known, n=3) or sorted(known)[:3]
    return NothingToExplainError(
        f"there is no {kind} {name} in this workspace",
        hint=f"there is, for instance: {', '.join(near)}" if near else "see hostk8s-agent status",
    )
