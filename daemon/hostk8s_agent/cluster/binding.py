"""Why a claim is as it is: judged from the objects as the API server has them, by the rules of its volume controller.

The rules are those of kubernetes/pkg/volume/util `FindMatchingVolume`: one volume for one claim, of the same class and
mode, with the size and the access modes at least, that the selector takes and nobody else has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hostk8s_agent.cluster.objects import mapping, mappings, text
from hostk8s_agent.contract.quantities import parse_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hostk8s_agent.plan.observed import ObservedPod

NOBODY: Final = "kubernetes.io/no-provisioner"
"""The provisioner of a class for which nobody makes volumes: those that exist are all there are."""

_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_SHOWN: Final = 3

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ClaimGround:
    """What the API server has: the claim (None: not there), all classes and volumes, the pods of its namespace.

    `told` are the messages of the newest warnings about the claim, newest first; empty when there is none.
    """

    name: str
    claim: Mapping[str, Any] | None
    classes: Sequence[Mapping[str, Any]] = ()
    volumes: Sequence[Mapping[str, Any]] = ()
    pods: Sequence[ObservedPod] = ()
    told: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ClaimFinding:
    """The claim's phase, why it is so, and what would change it: sentences."""

    state: str
    because: tuple[str, ...]
    to_change: tuple[str, ...] = ()


def judge_claim(ground: ClaimGround) -> ClaimFinding:
    """Return why the claim is as it is."""
    if ground.claim is None:
        return ClaimFinding("not there", ("the API server has no claim of that name",), ("make it",))
    spec, phase = mapping(ground.claim.get("spec")), text(mapping(ground.claim.get("status")).get("phase"))
    if text(mapping(ground.claim.get("metadata")).get("deletionTimestamp")):
        users = ", ".join(pod.name for pod in _find_users(ground)) or "nobody any more"
        return ClaimFinding(
            f"{phase}, being deleted", (f"it was deleted and goes when no pod uses it; its users: {users}",)
        )
    volume = text(spec.get("volumeName"))
    if phase == "Bound":
        return ClaimFinding("Bound", (f"the volume {volume} is bound to it",))
    if phase == "Lost":
        why = f"the volume {volume} that it was bound to is gone, or is another one's"
        return ClaimFinding("Lost", (why,), ("delete the claim and make it anew: the directory keeps its data",))
    because, to_change = _judge_pending(ground, spec, volume)
    told = [f"the cluster says: {one}" for one in ground.told[:1]]
    return ClaimFinding(phase or "Pending", (*because, *told), tuple(to_change))


def _judge_pending(ground: ClaimGround, spec: Mapping[str, Any], volume: str) -> tuple[list[str], list[str]]:
    asked = spec.get("storageClassName")
    wanted = text(asked) if asked is not None else _find_default(ground.classes)
    by_name = {_name(one): one for one in ground.classes}
    because: list[str] = []
    to_change: list[str] = []
    if asked is None and not wanted:
        because.append("it names no class, and no class is the default one")
        to_change.append("set its storageClassName")
    elif wanted and wanted not in by_name:
        because.append(f"its class {wanted} does not exist")
        # A volume of the class needs no class to be bound: then that is not what is in the way.
        if all(text(mapping(one.get("spec")).get("storageClassName")) != wanted for one in ground.volumes):
            to_change.append(f"use one of: {', '.join(sorted(by_name)) or 'none, there is no class'}")
    elif wanted and text(by_name[wanted].get("volumeBindingMode")) == "WaitForFirstConsumer":
        because += _judge_consumer(ground, wanted)
        if because and not _find_users(ground):
            to_change.append("start a pod that uses it")
    provisioner = text(by_name.get(wanted, {}).get("provisioner"))
    if provisioner and provisioner != NOBODY and not volume:
        because.append(f"volumes of its class {wanted} are made by {provisioner}, not by this agent")
        to_change.append(f"look whether {provisioner} runs: kubectl get pods --all-namespaces")
        return because, to_change
    if volume:
        chosen = [one for one in ground.volumes if _name(one) == volume]
        if not chosen:
            return [*because, f"it asks for the volume {volume} by name, and there is none"], [
                *to_change,
                "make that volume, or take its volumeName out",
            ]
    else:
        chosen = [one for one in ground.volumes if text(mapping(one.get("spec")).get("storageClassName")) == wanted]
    words, hints = _judge_volumes(ground, spec, wanted, chosen)
    return because + words, to_change + hints


def _judge_consumer(ground: ClaimGround, wanted: str) -> list[str]:
    users = _find_users(ground)
    waits = f"its class {wanted} binds only once a pod that uses it is scheduled (WaitForFirstConsumer)"
    if not users:
        return [f"{waits}, and no pod in {ground.name.partition('/')[0]} uses it"]
    unscheduled = [pod.name for pod in users if not pod.node]
    return [f"{waits}, and {', '.join(unscheduled)} is not scheduled"] if unscheduled else []


def _judge_volumes(
    ground: ClaimGround, spec: Mapping[str, Any], wanted: str, chosen: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[str]]:
    label = f"class {wanted}" if wanted else "no class"
    if not chosen:
        classes = sorted({text(mapping(one.get("spec")).get("storageClassName")) or "none" for one in ground.volumes})
        there = f"volumes there are of: {', '.join(classes)}" if classes else "there is no volume at all"
        # A contract's directory always has a class.
        mend = "add a directory of that class to a contract" if wanted else "make it anew with the class of a directory"
        return [f"no volume of {label} exists; {there}"], [mend]
    judged = sorted(
        ((list(_find_misfits(one, spec, ground.name)), _name(one)) for one in chosen),
        key=lambda one: (len(one[0]), one[1]),
    )
    if not judged[0][0]:
        fitting = next(one for one in chosen if _name(one) == judged[0][1])
        if where := "; or ".join(_find_places(fitting)):
            return [f"the volume {judged[0][1]} fits it, for a pod on a node with {where}"], []
        return [f"the volume {judged[0][1]} fits it: the cluster binds the two within seconds, unless it waits"], []
    words = [f"the volume {name} does not fit: {'; '.join(misfits)}" for misfits, name in judged[:_SHOWN]]
    if len(judged) > _SHOWN:
        words.append(f"nor do {len(judged) - _SHOWN} more of {label}")
    return words, ["change the claim, or the directory in the contract, so that one fits; or free a volume"]


def _find_misfits(volume: Mapping[str, Any], spec: Mapping[str, Any], claim: str) -> Iterator[str]:
    """Give in words each reason why the volume cannot be the claim's."""
    has, phase = mapping(volume.get("spec")), text(mapping(volume.get("status")).get("phase"))
    metadata = mapping(volume.get("metadata"))
    reference = mapping(has.get("claimRef"))
    holder = f"{text(reference.get('namespace'))}/{text(reference.get('name'))}" if reference else ""
    if text(metadata.get("deletionTimestamp")):
        yield "it is being deleted"
    if holder and phase == "Released":
        yield f"it is Released: {holder}, which held it, was deleted (hostk8s-agent release frees it)"
    elif holder and holder != claim:
        yield f"it is {'held by' if phase == 'Bound' else 'reserved for'} {holder}"
    has_class, wants_class = text(has.get("storageClassName")), spec.get("storageClassName")
    if isinstance(wants_class, str) and has_class != wants_class:
        yield f"its class is {has_class or 'none'}, {wants_class or 'none'} is asked"
    size = text(mapping(has.get("capacity")).get("storage"))
    asked = text(mapping(mapping(spec.get("resources")).get("requests")).get("storage"))
    if size and asked and parse_quantity(size) < parse_quantity(asked):
        yield f"it has {size}, {asked} are asked"
    if missing := sorted(set(_strings(spec.get("accessModes"))) - set(_strings(has.get("accessModes")))):
        yield f"its access modes are {', '.join(_strings(has.get('accessModes')))}, {', '.join(missing)} is asked"
    modes = [text(one.get("volumeMode")) or "Filesystem" for one in (has, spec)]
    if modes[0] != modes[1]:
        yield f"its mode is {modes[0]}, {modes[1]} is asked"
    yield from _find_unselected(mapping(spec.get("selector")), mapping(metadata.get("labels")))


def _find_places(volume: Mapping[str, Any]) -> Iterator[str]:
    """Give in words each kind of node that the volume can be used on; nothing where any will do."""
    required = mapping(mapping(mapping(volume.get("spec")).get("nodeAffinity")).get("required"))
    for term in mappings(required.get("nodeSelectorTerms")):
        yield " and ".join(
            f"{text(one.get('key'))} {text(one.get('operator'))} {' '.join(_strings(one.get('values')))}".rstrip()
            for part in ("matchExpressions", "matchFields")
            for one in mappings(term.get(part))
        )


def _find_unselected(selector: Mapping[str, Any], labels: Mapping[str, Any]) -> Iterator[str]:
    for key, value in mapping(selector.get("matchLabels")).items():
        if labels.get(key) != value:
            yield f"the claim's selector asks for the label {key}={value}, it has {labels.get(key, 'none')}"
    for one in mappings(selector.get("matchExpressions")):
        key, operator, values = text(one.get("key")), text(one.get("operator")), _strings(one.get("values"))
        is_met = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }.get(operator, False)
        if not is_met:
            yield f"the claim's selector asks for {key} {operator} {' '.join(values)}".rstrip()


def _find_users(ground: ClaimGround) -> list[ObservedPod]:
    name = ground.name.partition("/")[2]
    return [pod for pod in ground.pods if name in pod.claims and pod.phase not in {"Succeeded", "Failed"}]


def _find_default(classes: Sequence[Mapping[str, Any]]) -> str:
    marked = (
        _name(one)
        for one in classes
        if mapping(mapping(one.get("metadata")).get("annotations")).get(_DEFAULT_CLASS) == "true"
    )
    return next(marked, "")


def _name(raw: Mapping[str, Any]) -> str:
    return text(mapping(raw.get("metadata")).get("name"))


def _strings(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
