"""Copies of manifests in the restic repository, so that it suffices when this machine's disk is gone.

Each is one file, `/STACK.ID.jsonl`, in a snapshot of its own: with the tags `hostk8s-agent`, `hostk8s-manifest` and
`from=HOST:FOLDER`, which says whose it is. What was sent is known here without asking restic:

```
restic/manifests/<id>.json    {"snapshot": ..., "home": ..., "stamp": ..., "bytes": ..., "former": [...]}
```

`stamp` is the digest of what was sent: where it is another one by now, a new copy is sent, and then the `former` ones
are forgotten. So there is a copy at every moment, and never one whose archives are not there yet.
"""

from __future__ import annotations

import hashlib
import json
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

import structlog

from hostk8s_agent.snapshot.documents import ID_PATTERN
from hostk8s_agent.snapshot.durable import list_paths, make_folder, remove_durably, write_durably
from hostk8s_agent.snapshot.engine import CopyCatalog, ManifestCopy
from hostk8s_agent.snapshot.errors import ResticFailedError
from hostk8s_agent.snapshot.restic.records import FOLDER, StoredArchive
from hostk8s_agent.snapshot.restic.storing import TAG, iterate_file, name_file, uploading

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.restic.client import ResticClient
    from hostk8s_agent.snapshot.restic.records import ResticRecords
    from hostk8s_agent.snapshot.restic.storing import Committed

log = structlog.get_logger()

# Event names.
SENT = "restic.manifest_sent"

MANIFEST_TAG: Final = "hostk8s-manifest"
_ORIGIN: Final = "from="
_SUFFIX: Final = ".jsonl"


def render_origin_tag(repository: Path) -> str:
    """Return the tag that says whose a snapshot is: this machine's name and our repository's folder."""
    # A comma would end the tag.
    return _ORIGIN + quote(f"{socket.gethostname()}:{repository.absolute()}", safe="/:")


@dataclass(frozen=True, slots=True)
class _Sent:
    """What is known here of a copy: the restic snapshot, its repository, what was sent, its bytes, those before it."""

    snapshot: str
    home: str
    stamp: str
    byte_count: int
    former: tuple[str, ...] = ()


class ResticManifests:
    """Sends, finds and forgets copies. Used under the repository's lock, but for `list_sent`."""

    def __init__(self, repository: Path, client: ResticClient, records: ResticRecords) -> None:
        self._folder = repository / FOLDER / "manifests"
        self._client = client
        self._records = records
        self._origin_tag = render_origin_tag(repository)

    @property
    def origin(self) -> str:
        """Whose copies are sent from here, as people write it."""
        return _parse_origin([self._origin_tag])

    @property
    def is_awake(self) -> bool:
        """Whether the engine has been at work since `rest`."""
        return self._client.is_awake

    def rest(self) -> None:
        """Forget that the engine has been at work."""
        self._client.is_awake = False

    def prepare(self) -> None:
        """Make the folder of what is known."""
        make_folder(self._folder)

    # What is known here

    def list_sent(self) -> set[str]:
        """Return the ids of the snapshots whose manifest was sent."""
        names = (path.name.removesuffix(".json") for path in list_paths(self._folder))
        return {name for name in names if ID_PATTERN.fullmatch(name)}

    def list_stored(self) -> set[str]:
        """Return the ids that restic has given to the copies."""
        known = [one for name in self.list_sent() if (one := self._load(name)) is not None]
        return {stored for one in known for stored in (one.snapshot, *one.former)}

    def is_sent(self, snapshot: SnapshotManifest, head: bytes) -> bool:
        """Whether there is a copy of it as it is now, or none can be: its archives are in another repository."""
        home = self._records.load_home()
        if any(one.archive.home != home for one in snapshot.directories):
            return True
        sent = self._load(snapshot.id)
        return sent is not None and (sent.home, sent.stamp) == (home, self._stamp(head))

    def measure(self) -> int:
        """Return the bytes that the copies have added to the restic repository."""
        return sum(one.byte_count for name in self.list_sent() if (one := self._load(name)) is not None)

    # Changing

    def send(self, snapshot: SnapshotManifest, head: bytes, chunks: Iterable[bytes]) -> None:
        """Send a copy: `head` and what follows it. The one before it is forgotten with the next `forget`."""
        path = name_file(snapshot.stack, f"{snapshot.id}{_SUFFIX}")
        tags = [MANIFEST_TAG, self._origin_tag]
        before = self._load(snapshot.id)

        def record(stored: Committed) -> None:
            former = (before.snapshot, *before.former) if before and before.home == stored.home else ()
            self._keep(snapshot.id, _Sent(stored.snapshot, stored.home, self._stamp(head), stored.byte_count, former))

        with uploading(
            self._client, self._records, f"store the manifest of {snapshot.id}", path, tags, may_create=False
        ) as upload:
            upload.put(head)
            for chunk in chunks:
                upload.put(chunk)
            upload.commit(record)
        log.info(SENT, snapshot=snapshot.id)

    def forget(self, snapshots: Collection[str]) -> None:
        """Forget the copies of these, and those that newer ones have replaced. Starts no restic when there are none."""
        home = self._records.load_home()
        known = {name: one for name in self.list_sent() if (one := self._load(name)) is not None and one.home == home}
        gone = {name: one for name, one in known.items() if name in snapshots}
        replaced = {name: one for name, one in known.items() if name not in gone and one.former}
        stored = [one.snapshot for one in gone.values()]
        stored += [former for one in (*gone.values(), *replaced.values()) for former in one.former]
        if stored:
            environment = self._client.build_environment()
            self._client.find_home(environment)
            self._client.ask("forget manifests", ["forget", *sorted(stored)], environment)
            self._records.mark_prune()
        for name in gone:
            remove_durably(self._path(name))
        for name, one in replaced.items():
            self._keep(name, replace(one, former=()))

    # When they are needed

    def look(self) -> CopyCatalog:
        """Return what there is of ours in the restic repository, whoever has sent it."""
        environment = self._client.build_environment()
        home = self._client.find_home(environment)
        copies, archives = [], {}
        for one in self._client.list_tagged([TAG], environment):
            try:
                stored, path, tags = str(one["id"]), str(one["paths"][0]), list(one["tags"])
                time = str(one["time"])
            except (KeyError, IndexError, TypeError) as error:
                raise ResticFailedError(
                    "restic's answer cannot be understood", hint="is this a restic newer than the agent? report it"
                ) from error
            name = path.removesuffix(_SUFFIX).rpartition(".")[2]
            if MANIFEST_TAG not in tags:
                archives[stored] = path
            elif ID_PATTERN.fullmatch(name):
                copies.append(ManifestCopy(name, stored, path, _parse_origin(tags), time))
        return CopyCatalog(home, tuple(copies), archives)

    def has(self, copy: ManifestCopy) -> bool:
        """Whether this very copy is the one that is known here."""
        known = self._load(copy.snapshot)
        return known is not None and known.snapshot == copy.stored_as

    def read(self, copy: ManifestCopy) -> Iterator[bytes]:
        """Yield what a copy holds."""
        return iterate_file(self._client, copy.stored_as, copy.path)

    def adopt(
        self,
        snapshot: SnapshotManifest,
        head: bytes,
        copies: Sequence[ManifestCopy],
        archives: Mapping[str, str],
    ) -> None:
        """Take note of a snapshot that is ours from now on: of its archives, and of its copies, the newest first.

        Called after its manifest is part of our repository: what nothing refers to is forgotten.
        """
        self._records.keep_home(snapshot.directories[0].archive.home)
        for one in snapshot.directories:
            archive = one.archive
            if self._records.load(archive.stored_as) is None:
                self._records.add(
                    StoredArchive(archive.stored_as, archive.home, archives[archive.stored_as], archive.packed_bytes)
                )
        newest, *others = copies
        former = tuple(one.stored_as for one in others)
        # Another one's is sent anew as ours.
        stamp = self._stamp(head) if newest.origin == self.origin else ""
        self._keep(snapshot.id, _Sent(newest.stored_as, snapshot.directories[0].archive.home, stamp, 0, former))

    # Parts

    def _stamp(self, head: bytes) -> str:
        return hashlib.sha256(self._origin_tag.encode() + b"\n" + head).hexdigest()

    def _path(self, snapshot: str) -> Path:
        return self._folder / f"{snapshot}.json"

    def _load(self, snapshot: str) -> _Sent | None:
        try:
            found: dict[str, Any] = json.loads(self._path(snapshot).read_bytes())
            return _Sent(
                str(found["snapshot"]),
                str(found["home"]),
                str(found["stamp"]),
                int(found["bytes"]),
                tuple(map(str, found["former"])),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _keep(self, snapshot: str, sent: _Sent) -> None:
        document = {
            "snapshot": sent.snapshot,
            "home": sent.home,
            "stamp": sent.stamp,
            "bytes": sent.byte_count,
            "former": list(sent.former),
        }
        write_durably(self._path(snapshot), json.dumps(document).encode())


def _parse_origin(tags: Iterable[str]) -> str:
    return next((unquote(tag.removeprefix(_ORIGIN)) for tag in tags if tag.startswith(_ORIGIN)), "")
