"""Manifests and marks as JSON, and the id that binds a manifest to its content.

The form is that of docs/snapshot-format.md. What is read is checked field by field: a manifest is a file that anyone
may have written.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from hostk8s_agent.contract.model import Quiesce
from hostk8s_agent.snapshot.errors import ManifestForgedError, RepositoryNewerError
from hostk8s_agent.snapshot.model import (
    ARCHIVE_ENGINE,
    RESTIC_ENGINE,
    ArchiveReference,
    Consistency,
    DirectoryManifest,
    Marks,
    SnapshotManifest,
    SnapshotState,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT_VERSION: Final = 1
"""The version of the repository's format, in `repository.json` and in each manifest."""

_FORMAT_OF_ENGINES: Final = 2
"""That of a manifest whose archives are not files: one that knows only files must not take it for a broken one."""

ID_PATTERN: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
_DIGEST = re.compile("[0-9a-f]{64}")
_ID_DIGITS = 8


def seal_manifest(manifest: SnapshotManifest) -> SnapshotManifest:
    """Return the manifest with the id that its content gives it; the id that it has does not matter."""
    digest = hashlib.sha256(_canonical(_render_content(manifest))).hexdigest()
    return replace(manifest, id=f"{manifest.taken_at:%Y%m%d-%H%M%S}-{digest[:_ID_DIGITS]}")


def render_manifest(manifest: SnapshotManifest) -> bytes:
    """Return a sealed manifest as it is stored: the id, the digest of the content, and the content; no marks."""
    content = _render_content(manifest)
    digest = hashlib.sha256(_canonical(content)).hexdigest()
    document = {"id": manifest.id, "sha256": digest, "content": content}
    return json.dumps(document, indent=1).encode() + b"\n"


def parse_manifest(text: bytes, snapshot_id: str) -> SnapshotManifest:
    """Return the manifest that `render_manifest` wrote under this id, with no marks.

    Raises `ManifestForgedError` when it is cut, changed or not one, `RepositoryNewerError` for a newer format.
    """
    try:
        document = json.loads(text)
        content = document["content"]
        if content["format"] > _FORMAT_OF_ENGINES:
            raise RepositoryNewerError(
                f"the manifest of {snapshot_id} has format {content['format']}, and this agent knows "
                f"{_FORMAT_OF_ENGINES}",
                hint="update hostk8s-agent",
            )
        digest = hashlib.sha256(_canonical(content)).hexdigest()
        manifest = _parse_content(content, str(document["id"]))
        # The whole text is compared, so that no bit of it is without a meaning.
        is_whole = document["sha256"] == digest and render_manifest(manifest) == text
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _build_forged_error(snapshot_id) from error
    if not is_whole or seal_manifest(manifest).id != manifest.id:
        raise _build_forged_error(snapshot_id)
    return manifest


def _build_forged_error(snapshot_id: str) -> ManifestForgedError:
    return ManifestForgedError(
        f"the manifest of {snapshot_id} is not the one that was written: its content and its digest differ",
        hint="do not restore from it; hostk8s-agent snapshot forget removes it, another snapshot serves in its place",
    )


def render_marks(marks: Marks) -> bytes:
    """Return the marks as they are stored."""
    return (
        json.dumps(
            {
                "format": FORMAT_VERSION,
                "state": marks.state.value,
                "pinned": marks.is_pinned,
                "verifiedAt": render_moment(marks.verified_at) if marks.verified_at else "",
                "reason": marks.reason,
            }
        ).encode()
        + b"\n"
    )


def parse_marks(text: bytes) -> Marks:
    """Return the marks; what cannot be read says nothing of the snapshot: it is unverified, and pinned to be safe."""
    try:
        document = json.loads(text)
        return Marks(
            SnapshotState(document["state"]),
            bool(document["pinned"]),
            parse_moment(document["verifiedAt"]) if document["verifiedAt"] else None,
            str(document["reason"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Marks(is_pinned=True, reason="its marks could not be read")


def render_moment(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_moment(text: str) -> datetime:
    """Return the time that RFC 3339 text names; raises `ValueError` for one without an offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no offset")
    return moment.astimezone(UTC)


def describe_manifest(manifest: SnapshotManifest) -> dict[str, Any]:
    """Return a snapshot as people and scripts are shown it: everything but the contract's text."""
    content = _render_content(manifest)
    del content["format"], content["contract"]["text"]
    return {
        "id": manifest.id,
        **content,
        "state": manifest.state.value,
        "reason": manifest.marks.reason,
        "pinned": manifest.is_pinned,
        "verifiedAt": render_moment(manifest.verified_at) if manifest.verified_at else "",
        "bytes": manifest.byte_count,
        "files": manifest.files,
        "packedBytes": manifest.packed_bytes,
    }


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()


def _render_content(manifest: SnapshotManifest) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION if manifest.engine == ARCHIVE_ENGINE else _FORMAT_OF_ENGINES,
        "stack": manifest.stack,
        "takenAt": render_moment(manifest.taken_at),
        "name": manifest.name,
        "tags": list(manifest.tags),
        "engine": manifest.engine,
        "access": manifest.access,
        "dockerEngine": manifest.docker_engine,
        "agentVersion": manifest.agent_version,
        "quiesce": {
            "asked": manifest.asked.value,
            "reached": manifest.consistency.value,
            "note": manifest.rest_note,
        },
        "contract": {"digest": manifest.contract_digest, "text": manifest.contract_text},
        "directories": [_render_directory(one) for one in manifest.directories],
    }


def _render_directory(directory: DirectoryManifest) -> dict[str, Any]:
    return {
        "name": directory.name,
        "path": directory.path,
        "declared": {"owner": directory.declared_owner, "mode": f"{directory.declared_mode:04o}"},
        "observed": {"owner": directory.observed_owner, "mode": f"{directory.observed_mode:04o}"},
        "tree": directory.archive.tree,
        "archive": _render_archive(directory.archive),
        "entries": directory.entries,
        "files": directory.files,
        "bytes": directory.byte_count,
        "lost": list(directory.lost),
        "changed": list(directory.changed),
    }


def _parse_content(content: Mapping[str, Any], snapshot_id: str) -> SnapshotManifest:
    return SnapshotManifest(
        id=snapshot_id,
        stack=str(content["stack"]),
        taken_at=parse_moment(content["takenAt"]),
        directories=tuple(_parse_directory(one, str(content["engine"])) for one in content["directories"]),
        contract_text=str(content["contract"]["text"]),
        contract_digest=str(content["contract"]["digest"]),
        asked=Quiesce(content["quiesce"]["asked"]),
        consistency=Consistency(content["quiesce"]["reached"]),
        rest_note=str(content["quiesce"]["note"]),
        name=str(content["name"]),
        tags=tuple(str(tag) for tag in content["tags"]),
        engine=str(content["engine"]),
        access=str(content["access"]),
        docker_engine=str(content["dockerEngine"]),
        agent_version=str(content["agentVersion"]),
    )


def _parse_directory(document: Mapping[str, Any], engine: str) -> DirectoryManifest:
    return DirectoryManifest(
        name=str(document["name"]),
        path=str(document["path"]),
        declared_owner=str(document["declared"]["owner"]),
        declared_mode=int(document["declared"]["mode"], 8),
        observed_owner=str(document["observed"]["owner"]),
        observed_mode=int(document["observed"]["mode"], 8),
        archive=_parse_archive(document, engine),
        entries=int(document["entries"]),
        files=int(document["files"]),
        byte_count=int(document["bytes"]),
        lost=tuple(str(one) for one in document["lost"]),
        changed=tuple(str(one) for one in document["changed"]),
    )


def _render_archive(archive: ArchiveReference) -> dict[str, Any]:
    if archive.engine == RESTIC_ENGINE:
        return {"snapshot": archive.stored_as, "repository": archive.home, "bytes": archive.packed_bytes}
    return {"sha256": archive.stored_as, "bytes": archive.packed_bytes}


def _parse_archive(document: Mapping[str, Any], engine: str) -> ArchiveReference:
    tree, archive = _require_digest(document["tree"]), document["archive"]
    if engine == RESTIC_ENGINE:
        home = _require_digest(archive["repository"])
        return ArchiveReference(tree, _require_digest(archive["snapshot"]), int(archive["bytes"]), engine, home)
    return ArchiveReference(tree, _require_digest(archive["sha256"]), int(archive["bytes"]), engine)


def _require_digest(text: str) -> str:
    # It becomes a file's name, or an argument.
    if not _DIGEST.fullmatch(text):
        raise ValueError(f"{text!r} is no SHA-256")
    return text
