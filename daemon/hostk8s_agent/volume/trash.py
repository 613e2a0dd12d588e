"""The trash: directories that were purged, in the volume itself, each with a manifest of where it came from.

```
.hostk8s-trash/manifests/ID.json   written before the directory is moved: it is the journal as well
.hostk8s-trash/trees/ID            the directory, renamed: it is wholly here, or wholly where it was
.hostk8s-trash/removing/ID         on its way out for good
```

A crash leaves a manifest without its tree (the move had not happened yet, or had been undone), which is none, and
a tree below `removing` that is partly gone, which the next emptying or start takes away. Nothing else is half done.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.plan.actions import CreateDirectory
from hostk8s_agent.volume.errors import NotInTrashError
from hostk8s_agent.volume.mapping import parse_volume_path, render_volume_path
from hostk8s_agent.volume.recognising import make_own_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hostk8s_agent.volume.access import TreeSize, VolumeAccess

TRASH_FOLDER = "/mnt/pv/.hostk8s-trash"
MANIFESTS = f"{TRASH_FOLDER}/manifests"
TREES = f"{TRASH_FOLDER}/trees"
REMOVING = f"{TRASH_FOLDER}/removing"

_SUFFIX = ".json"
_PARENT_MODE = 0o755


@dataclass(frozen=True, slots=True)
class TrashItem:
    """One directory in the trash: where it came from, whose it was, and what it held when it was moved.

    `moved_at` is in seconds since the epoch; the size is None where it could not be told.
    """

    id: str
    path: str
    stack: str
    workspace: str
    moved_at: float
    size_bytes: int | None = None
    entries: int | None = None

    @property
    def tree(self) -> str:
        """Where the directory is now."""
        return f"{TREES}/{self.id}"

    @property
    def manifest(self) -> str:
        """The file that says where it came from."""
        return f"{MANIFESTS}/{self.id}{_SUFFIX}"


class Trash:
    """One workspace's part of a volume's trash. Used by one caller at a time."""

    def __init__(self, access: VolumeAccess, workspace: str) -> None:
        """`workspace` is the workspace's identity: what another workspace has purged is that one's to bring back."""
        self._access = access
        self._workspace = workspace

    def put(self, path: str, stack: str, size: TreeSize | None, now: float) -> TrashItem:
        """Move a directory into the trash. Raises the `VolumeError` that says why not; then it is where it was."""
        for folder in (MANIFESTS, TREES):
            if (error := make_own_folder(self._access, folder)) is not None:
                raise error
        moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
        item = TrashItem(
            id=f"{moment}-{secrets.token_hex(3)}",
            path=path,
            stack=stack,
            workspace=self._workspace,
            moved_at=now,
            size_bytes=size.size_bytes if size else None,
            entries=size.entries if size else None,
        )
        content = json.dumps(asdict(item), indent=2).encode()
        self._access.write_file(item.manifest, content)
        try:
            self._access.move_directory(path, item.tree)
        except VolumeError:
            self._forget_unless_moved(item)
            raise
        return item

    def items(self) -> tuple[TrashItem, ...]:
        """Return what is in the trash, the oldest first."""
        known = [item for item in self._read_manifests() if item.workspace == self._workspace]
        present = self._find_present(known)
        return tuple(item for item in sorted(known, key=lambda one: one.moved_at) if item in present)

    def undo(self, path: str) -> TrashItem:
        """Bring back what came from `path` last, or the item of that ID. Raises `NotInTrashError`, among others."""
        found = [item for item in self.items() if path in (item.path, item.id)]
        if not found:
            raise NotInTrashError(
                f"nothing in the trash came from {path}", hint="see what is there: hostk8s-agent orphans"
            )
        item = found[-1]
        parent = parse_volume_path(item.path)[:-1]
        if parent:
            action = CreateDirectory(render_volume_path(parent), 0, 0, _PARENT_MODE, "the parent of what comes back")
            (seen,) = self._access.observe_directories([action.path])
            # One that exists keeps its owner and mode.
            error = self._access.apply_directories([action])[0] if seen.kind == "absent" else None
            if error is not None:
                raise error
        self._access.move_directory(item.tree, item.path)
        self._access.remove_tree(item.manifest)
        return item

    def empty(self) -> tuple[TrashItem, ...]:
        """Delete for good what is in the trash, and return it."""
        items = self.items()
        if items and (error := make_own_folder(self._access, REMOVING)) is not None:
            raise error
        for item in items:
            # Out of sight in one step, before the first file of it is deleted: what is partly gone never comes back.
            self._access.move_directory(item.tree, f"{REMOVING}/{item.id}")
            self._access.remove_tree(item.manifest)
        self.recover()
        return items

    def recover(self) -> None:
        """Put right what a crash has left half done."""
        removing = self._access.observe_directories([REMOVING])[0]
        if removing.kind == "directory":
            self._access.remove_tree(REMOVING)
        known = [item for item in self._read_manifests() if item.workspace == self._workspace]
        present = self._find_present(known)
        for item in known:
            if item not in present:
                self._access.remove_tree(item.manifest)

    def _forget_unless_moved(self, item: TrashItem) -> None:
        """Take the manifest away after a failure, when nothing was moved; what cannot be told now is told later."""
        try:
            if item not in self._find_present([item]):
                self._access.remove_tree(item.manifest)
        except VolumeError:
            return

    def _read_manifests(self) -> list[TrashItem]:
        files = self._access.read_files(MANIFESTS)
        parsed = (_parse_item(name.removesuffix(_SUFFIX), content) for name, content in files.items())
        return [item for item in parsed if item is not None]

    def _find_present(self, items: Iterable[TrashItem]) -> list[TrashItem]:
        asked = list(items)
        seen = self._access.observe_directories([item.tree for item in asked])
        return [item for item, one in zip(asked, seen, strict=True) if one.kind == "directory"]


def _parse_item(name: str, content: bytes) -> TrashItem | None:
    try:
        known = json.loads(content)
        item = TrashItem(**{field.name: known[field.name] for field in fields(TrashItem)})
        parse_volume_path(item.path)
    except (ValueError, TypeError, KeyError, VolumeError):
        return None  # cut by a crash before anything was moved, or not ours
    return item if item.id == name else None
