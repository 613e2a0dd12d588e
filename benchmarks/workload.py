"""What is asked for in each round: contracts of one directory, and the very objects that the agent makes of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.plan.objects import render_desired_state

if TYPE_CHECKING:
    from pathlib import Path

OWNER = 26
MODE = 0o750
CONTRACT_FILE = "hostk8s.storage.yaml"

_CONTRACT = """\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata:
  name: {stack}
spec:
  directories:
    - name: {directory}
      path: {path}
      size: {size}
      accessModes: [ReadWriteOnce]
      storageClass: {storage_class}
      owner: "{owner}:{owner}"
      permissions: "{mode:o}"
"""

_COLLECTIONS = {
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
    "PersistentVolume": "/api/v1/persistentvolumes",
}


@dataclass(frozen=True, slots=True)
class Patch:
    """One raw PATCH: server-side apply of an object, unless `content_type` says otherwise."""

    path: str
    body: bytes
    content_type: str = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Edition:
    """One edition of one stack's contract.

    Its directory, StorageClass and PersistentVolume are all named for stack and number, so that with each edition
    all three are new.
    """

    stack: str
    number: int = 0
    size: str = "1Gi"

    @property
    def directory(self) -> str:
        """The directory's name."""
        return f"data-{self.number}"

    @property
    def path(self) -> str:
        """The directory's path as the contract has it."""
        return f"/mnt/pv/{self.stack}/{self.directory}"

    @property
    def storage_class(self) -> str:
        """The StorageClass's name."""
        return f"{self.stack}-{self.directory}"

    @property
    def persistent_volume(self) -> str:
        """The PersistentVolume's name."""
        return f"hostk8s-{self.stack}-{self.directory}-pv"

    @property
    def object_names(self) -> frozenset[str]:
        """The two objects as the observer names them."""
        return frozenset({f"StorageClass/{self.storage_class}", f"PersistentVolume/{self.persistent_volume}"})

    @property
    def text(self) -> str:
        """The contract file."""
        return _CONTRACT.format(
            stack=self.stack,
            directory=self.directory,
            path=self.path,
            size=self.size,
            storage_class=self.storage_class,
            owner=OWNER,
            mode=MODE,
        )

    def manifests(self, workspace: Path) -> list[dict[str, object]]:
        """The objects, field for field what the agent of this workspace applies: its own rooms render them."""
        file = f"software/stacks/{self.stack}/{CONTRACT_FILE}"
        contract = parse_contract(self.text.encode(), file=file, stack=self.stack)
        desired = render_desired_state(contract, str(workspace))
        return [dict(one.manifest) for one in desired.objects]

    @property
    def availability(self) -> Patch:
        """What the controller manager does with a new PersistentVolume: it makes its phase Available."""
        return Patch(
            f"{_COLLECTIONS['PersistentVolume']}/{self.persistent_volume}/status",
            b'{"status":{"phase":"Available"}}',
            "application/merge-patch+json",
        )

    def patches(self, workspace: Path) -> list[Patch]:
        """The objects as raw server-side applies."""
        return [_render_patch(manifest) for manifest in self.manifests(workspace)]


def _render_patch(manifest: dict[str, object]) -> Patch:
    metadata = manifest["metadata"]
    assert isinstance(metadata, dict)
    path = f"{_COLLECTIONS[str(manifest['kind'])]}/{metadata['name']}?fieldManager=hostk8s-agent&force=false"
    return Patch(path, json.dumps(manifest, separators=(",", ":")).encode())


def name_stacks(count: int) -> list[str]:
    """Return `count` stack names of one length."""
    return [f"stack-{number:04d}" for number in range(count)]


@dataclass(frozen=True, slots=True)
class Checkout:
    """A workspace that contracts are saved in."""

    root: Path

    def contract_file(self, stack: str) -> Path:
        """The stack's contract file."""
        return self.root / "software/stacks" / stack / CONTRACT_FILE

    def write(self, editions: list[Edition]) -> None:
        """Write contracts, with their folders."""
        for edition in editions:
            file = self.contract_file(edition.stack)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(edition.text, encoding="utf-8")

    def prepare_save(self, edition: Edition) -> tuple[Path, Path]:
        """Write the contract beside its place, as an editor does; return where it is and what to rename it to."""
        file = self.contract_file(edition.stack)
        beside = file.with_name(".being-saved")
        beside.write_text(edition.text, encoding="utf-8")
        return beside, file

    def touch(self, editions: list[Edition]) -> None:
        """Write each file anew with the content that it has."""
        for edition in editions:
            self.contract_file(edition.stack).write_text(edition.text, encoding="utf-8")


def is_directory_right(path: Path) -> bool:
    """Whether the directory is there with the declared owner and mode, and is no symbolic link."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return (found.st_mode, found.st_uid, found.st_gid) == (0o040000 | MODE, OWNER, OWNER)
