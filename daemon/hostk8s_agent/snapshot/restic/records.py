"""What is known on this machine of a restic repository: which one it is, which of its snapshots are ours.

```
restic/home.json            which repository was found where: {"location": <digest>, "id": "..."}
restic/<snapshot>.json      one archive of ours there: {"home": ..., "path": ..., "bytes": ...}
restic/<token>.intent       an archive that is being stored: its snapshot has the token as a tag
restic/prune-due            something was forgotten since the last prune; its time is that of the first
restic/cache/               restic's own cache; may be removed
```

An intent is written before restic starts, and goes once the archive's own file is there: what a crash leaves in the
restic repository is found by it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hostk8s_agent.snapshot.durable import list_paths, make_folder, remove_durably, write_durably

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = "restic"
_ID = re.compile(r"[0-9a-f]{64}")
_INTENT = ".intent"


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """An archive in a restic repository: the snapshot's id, the repository's id, the file's path in it, its bytes."""

    snapshot: str
    home: str
    path: str
    byte_count: int


class ResticRecords:
    """The folder. Reading from any thread, changing under the repository's lock."""

    def __init__(self, repository: Path, location: str) -> None:
        self._folder = repository / FOLDER
        self._location = hashlib.sha256(location.encode()).hexdigest()

    @property
    def cache(self) -> Path:
        """Where restic keeps copies of what it needs often."""
        return self._folder / "cache"

    def prepare(self) -> None:
        """Make the folder."""
        make_folder(self._folder)

    # Which repository it is

    def load_home(self) -> str:
        """Return the id of the restic repository that was found at this location, empty when none was yet."""
        document = _load(self._folder / "home.json")
        return str(document.get("id", "")) if document.get("location") == self._location else ""

    def keep_home(self, home: str) -> None:
        """Remember which repository is at this location."""
        if self.load_home() != home:
            write_durably(self._folder / "home.json", json.dumps({"location": self._location, "id": home}).encode())

    # Archives

    def load(self, snapshot: str) -> StoredArchive | None:
        """Return what is known of an archive, None when nothing is."""
        document = _load(self._folder / f"{snapshot}.json") if _ID.fullmatch(snapshot) else {}
        try:
            return StoredArchive(snapshot, str(document["home"]), str(document["path"]), int(document["bytes"]))
        except (KeyError, TypeError, ValueError):
            return None

    def load_all(self) -> list[StoredArchive]:
        """Return all archives."""
        names = (path.name.removesuffix(".json") for path in list_paths(self._folder) if path.suffix == ".json")
        return [one for name in names if (one := self.load(name)) is not None]

    def add(self, archive: StoredArchive) -> None:
        """Keep what is known of an archive."""
        document = {"home": archive.home, "path": archive.path, "bytes": archive.byte_count}
        write_durably(self._folder / f"{archive.snapshot}.json", json.dumps(document).encode())

    def remove(self, snapshot: str) -> None:
        """Know nothing of an archive any more."""
        remove_durably(self._folder / f"{snapshot}.json")

    # What is under way

    def begin_intent(self) -> str:
        """Return the tag of a snapshot that will be made."""
        token = f"hostk8s-{secrets.token_hex(16)}"
        write_durably(self._folder / f"{token}{_INTENT}", b"")
        return token

    def end_intent(self, token: str) -> None:
        """Nothing is under way with this tag any more."""
        remove_durably(self._folder / f"{token}{_INTENT}")

    def list_intents(self) -> list[str]:
        """Return the tags of what a crash has interrupted."""
        return [path.name.removesuffix(_INTENT) for path in list_paths(self._folder) if path.suffix == _INTENT]

    # Pruning

    def mark_prune(self) -> None:
        """Something was forgotten: its content is there until restic prunes."""
        if self.find_prune_age() is None:
            write_durably(self._folder / "prune-due", b"")

    def find_prune_age(self) -> float | None:
        """Return for how many seconds something waits to be pruned, None when nothing does."""
        with suppress(OSError):
            return time.time() - (self._folder / "prune-due").stat().st_mtime
        return None

    def clear_prune(self) -> None:
        """Nothing waits any more."""
        remove_durably(self._folder / "prune-due")


def _load(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
