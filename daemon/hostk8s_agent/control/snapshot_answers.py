"""What is asked of snapshots in JSON, and answered in JSON: by the agent, and by a command without one."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from hostk8s_agent.control.errors import AgentBusyError, RequestInvalidError, UnknownPathError
from hostk8s_agent.control.requests import require_stack_name
from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.documents import describe_manifest, render_moment
from hostk8s_agent.snapshot.progress import ignore
from hostk8s_agent.snapshot.requests import CreateRequest, RestoreRequest
from hostk8s_agent.snapshot.selecting import find_name_fault
from hostk8s_agent.status.model import API_VERSION, render_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hostk8s_agent.snapshot.expiring import Expiry, StackExpiry
    from hostk8s_agent.snapshot.ports import StopWay
    from hostk8s_agent.snapshot.progress import Progress
    from hostk8s_agent.snapshot.requests import RestorePlan
    from hostk8s_agent.snapshot.service import SnapshotService

Document = dict[str, Any]

MAX_UNATTENDED: Final = 4
"""Snapshots that nobody waits for, at once: each is taken after the other anyway."""

_FIELDS: dict[str, dict[str, type]] = {
    "create": {"stack": str, "name": str, "pin": bool, "wait": bool},
    "verify": {"ids": list},
    "plan": {"stack": str, "which": str, "target": str, "path": str, "undo": bool, "inUse": bool, "scaleDown": bool},
    "restore": {"stack": str, "which": str, "target": str, "path": str, "undo": bool, "inUse": bool, "scaleDown": bool},
    "pin": {"id": str, "pinned": bool},
    "accept": {"id": str},
    "forget": {"id": str},
    "recover": {"from": str},
    "expire": {"stack": str, "dryRun": bool},
}


class SnapshotAnswers:
    """Answers each question with a document; raises the `AgentError` that says why not. From any thread."""

    is_agents = False

    def __init__(self, service: SnapshotService, expiry: Expiry) -> None:
        self._service = service
        self._expiry = expiry
        self._unattended = threading.BoundedSemaphore(MAX_UNATTENDED)
        self._long_verbs: dict[str, Callable[[Mapping[str, Any], Callable[[Progress], None]], Document]] = {
            "create": self._create,
            "verify": self._verify,
            "restore": self._restore,
            "recover": self._recover_manifests,
        }
        self._verbs: dict[str, Callable[[Mapping[str, Any]], Document]] = {
            "plan": self._plan,
            "pin": self._pin,
            "accept": self._accept,
            "forget": self._forget,
            "expire": self._expire,
        }

    def list(self, stack: str | None) -> Document:
        """Return `{"repository", "resticRepository", "bytes", "snapshots", "problems"}`, the oldest snapshot first."""
        snapshots, problems = self._service.list(stack)
        repository = self._service.repository
        return {
            "apiVersion": API_VERSION,
            "repository": str(repository.folder),
            "resticRepository": repository.engine.address,
            "bytes": repository.measure(),
            "snapshots": [describe_manifest(one) for one in snapshots],
            "problems": render_json(problems),
        }

    def answer(
        self, verb: str, fields: Mapping[str, Any], on_progress: Callable[[Document], None] | None = None
    ) -> Document:
        """Do what a verb asks for; `on_progress` is told the documents of progress that docs/cli.md describes.

        Raises `UnknownPathError`, `RequestInvalidError`, and what the verb raises.
        """
        known = _FIELDS.get(verb)
        if known is None:
            raise UnknownPathError(f"snapshots do not know {verb!r}", hint="docs/cli.md lists the control API")
        for name, value in fields.items():
            if name not in known or not isinstance(value, known[name]):
                raise RequestInvalidError(
                    f"the field {name!r} is not known to {verb}, or of another type",
                    hint=f"send an object with {', '.join(known)}",
                )
        if verb not in self._long_verbs:
            return {"apiVersion": API_VERSION, **self._verbs[verb](fields)}
        tell = ignore if on_progress is None else lambda progress: on_progress(render_json(progress))
        return {"apiVersion": API_VERSION, **self._long_verbs[verb](fields, tell)}

    def _create(self, fields: Mapping[str, Any], tell: Callable[[Progress], None]) -> Document:
        name = fields.get("name", "")
        if fault := find_name_fault(name):
            raise RequestInvalidError(f"the name {name[:40]!r} cannot be used: {fault}", hint="choose another name")
        request = CreateRequest(_require(fields, "stack"), name, is_pinned=fields.get("pin", False))
        if not fields.get("wait", True):
            # What is wrong with the request itself is told to whoever asks, who is gone when the rest goes wrong.
            self._service.require_contract(request.stack)
            self._begin({**fields, "wait": True})
            return {"snapshot": None}
        return {"snapshot": describe_manifest(self._service.create(request, on_progress=tell))}

    def _begin(self, fields: Mapping[str, Any]) -> None:
        """Take a snapshot in a thread of its own. An agent that is told to stop waits for it."""
        if not self._unattended.acquire(blocking=False):
            raise AgentBusyError(f"{MAX_UNATTENDED} snapshots that nobody waits for are under way", hint="try later")

        def work() -> None:
            # By its door, where the agent writes down what failed.
            with suppress(AgentError):
                self.answer("create", fields)
            self._unattended.release()

        threading.Thread(target=work, name="snapshot-unattended").start()

    def _verify(self, fields: Mapping[str, Any], tell: Callable[[Progress], None]) -> Document:
        ids = fields.get("ids")
        if ids is not None and not all(isinstance(one, str) for one in ids):
            raise RequestInvalidError("ids must be a list of ids", hint="leave it out to verify all")
        verified, problems = self._service.verify(ids, on_progress=tell)
        return {
            "snapshots": [describe_manifest(one.snapshot) for one in verified],
            "isWhole": all(one.is_whole for one in verified) and not problems,
            "problems": render_json(problems),
        }

    def _recover_manifests(self, fields: Mapping[str, Any], tell: Callable[[Progress], None]) -> Document:
        recovery = self._service.recover_manifests(fields.get("from", ""), on_progress=tell)
        return {
            "resticRepository": self._service.repository.engine.address,
            "from": recovery.origin,
            "recovered": [describe_manifest(one) for one in recovery.recovered],
            "present": list(recovery.present),
            "unusable": [{"id": one.snapshot, "problem": render_json(one.problem)} for one in recovery.unusable],
            "others": [{"from": origin, "manifests": count} for origin, count in recovery.others.items()],
            "looseArchives": list(recovery.loose),
        }

    def _plan(self, fields: Mapping[str, Any]) -> Document:
        return {"plan": _describe_plan(self._service.plan_restore(_parse_restore(fields)))}

    def _restore(self, fields: Mapping[str, Any], tell: Callable[[Progress], None]) -> Document:
        outcome = self._service.restore(_parse_restore(fields), on_progress=tell)
        return {
            "plan": _describe_plan(outcome.plan),
            "safety": describe_manifest(outcome.safety) if outcome.safety else None,
            "notes": list(outcome.notes),
        }

    def _pin(self, fields: Mapping[str, Any]) -> Document:
        snapshot = self._service.pin(_require(fields, "id"), is_pinned=fields.get("pinned", True))
        return {"snapshot": describe_manifest(snapshot)}

    def _accept(self, fields: Mapping[str, Any]) -> Document:
        return {"snapshot": describe_manifest(self._service.accept(_require(fields, "id")))}

    def _forget(self, fields: Mapping[str, Any]) -> Document:
        return {"forgotten": self._service.forget(_require(fields, "id"))}

    def _expire(self, fields: Mapping[str, Any]) -> Document:
        stack = fields.get("stack") or None
        is_dry_run = fields.get("dryRun", False)
        judged = self._expiry.judge(stack) if is_dry_run else self._expiry.expire(stack)
        return {"isDryRun": is_dry_run, "stacks": [_describe_expiry(one) for one in judged]}


def _describe_expiry(expiry: StackExpiry) -> Document:
    return {
        "stack": expiry.stack,
        "held": expiry.held,
        "snapshots": [
            {
                "id": one.snapshot.id,
                "takenAt": render_moment(one.snapshot.taken_at),
                "isKept": one.is_kept,
                "reasons": list(one.reasons),
            }
            for one in expiry.verdicts
        ],
    }


def _require(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        what = "snapshot" if name == "id" else name
        raise RequestInvalidError(f"no {what} is named", hint=f"name one; in the control API it is the field {name!r}")
    return require_stack_name(value) if name == "stack" else value


def _parse_restore(fields: Mapping[str, Any]) -> RestoreRequest:
    stop: StopWay = "scale-down" if fields.get("scaleDown") else "freeze" if fields.get("inUse") else ""
    if fields.get("scaleDown") and fields.get("inUse"):
        raise RequestInvalidError("scaleDown and inUse exclude each other", hint="send one of them")
    return RestoreRequest(
        _require(fields, "stack"),
        fields.get("which", ""),
        target=fields.get("target", ""),
        path=fields.get("path", ""),
        is_undo=fields.get("undo", False),
        stop=stop,
    )


def _describe_plan(plan: RestorePlan) -> Document:
    return {
        "snapshot": describe_manifest(plan.snapshot),
        "target": plan.target,
        "directories": [
            {
                "name": f"{one.taken.name}/{one.inner}" if one.inner else one.taken.name,
                "path": one.path,
                "bytes": one.size[2],
                "files": one.size[1],
                "isRemoved": bool(one.removed),
            }
            for one in plan.replacements
        ],
        "leftAlone": list(plan.left_alone),
        "users": list(plan.users),
        "stops": list(plan.stops),
    }
