"""The StorageClasses and PersistentVolumes of a contract, as the fields that we hold an opinion on.

Names, labels and fixed fields are HostK8s' own (`manage-storage.py`): other files select on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.contract.naming import (
    LABEL_DIRECTORY,
    LABEL_STACK,
    fold_stack_name,
    persistent_volume_name,
)
from hostk8s_agent.plan.desired import (
    DesiredDirectory,
    DesiredObject,
    DesiredState,
    Manifest,
    ObjectKey,
)

if TYPE_CHECKING:
    from hostk8s_agent.contract.model import Contract, Directory

FIELD_MANAGER = "hostk8s-agent"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
ANNOTATION_WORKSPACE = "hostk8s.io/workspace"
ANNOTATION_CONTRACT = "hostk8s.io/contract"
ANNOTATION_DIGEST = "hostk8s.io/contract-digest"
PROVISIONER = "kubernetes.io/no-provisioner"


def render_desired_state(contract: Contract, workspace: str) -> DesiredState:
    """Return all that `contract` asks for; `workspace` is the workspace's path, kept as an annotation."""
    storage_classes = {directory.storage_class for directory in contract.directories}
    objects = [
        DesiredObject(ObjectKey("StorageClass", name), _render_storage_class(name, workspace))
        for name in sorted(storage_classes)
    ]
    for directory in contract.directories:
        manifest = _render_persistent_volume(contract, directory, workspace)
        key = ObjectKey("PersistentVolume", persistent_volume_name(contract.stack, directory.name))
        objects.append(DesiredObject(key, manifest, directory.name))
    return DesiredState(
        stack=contract.stack,
        directories=tuple(
            DesiredDirectory(
                name=directory.name,
                path=directory.path,
                uid=directory.owner.uid,
                gid=directory.owner.gid,
                mode=directory.permissions,
            )
            for directory in contract.directories
        ),
        objects=tuple(objects),
    )


def _render_storage_class(name: str, workspace: str) -> Manifest:
    # A StorageClass is shared by stacks: nothing in it may depend on one of them, or they would overwrite each other.
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": name,
            "labels": {LABEL_MANAGED_BY: FIELD_MANAGER},
            "annotations": {ANNOTATION_WORKSPACE: workspace},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Retain",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": False,
    }


def _render_persistent_volume(contract: Contract, directory: Directory, workspace: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": persistent_volume_name(contract.stack, directory.name),
            "labels": {
                LABEL_STACK: fold_stack_name(contract.stack),
                LABEL_DIRECTORY: directory.name,
                LABEL_MANAGED_BY: FIELD_MANAGER,
            },
            "annotations": {
                ANNOTATION_WORKSPACE: workspace,
                ANNOTATION_CONTRACT: contract.file,
                ANNOTATION_DIGEST: contract.digest,
            },
        },
        "spec": {
            "capacity": {"storage": directory.size},
            "accessModes": list(directory.access_modes),
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": directory.storage_class,
            "hostPath": {"path": directory.path, "type": "DirectoryOrCreate"},
        },
    }
