"""The objects of a contract are HostK8s' own, byte for byte where other files select on them."""

from hostk8s_agent.contract.model import Contract
from hostk8s_agent.plan.desired import DesiredDirectory, DesiredState
from hostk8s_agent.plan.objects import render_desired_state


def test_a_persistent_volume_has_the_names_and_fields_of_hostk8s(desired: DesiredState) -> None:
    """Other files select on the name and the labels, so that they must never change."""
    volume = next(one for one in desired.objects if one.directory == "dags")
    assert volume.key == ("PersistentVolume", "hostk8s-foundation-airflow-dags-pv")
    metadata = volume.manifest["metadata"]
    assert metadata["labels"] == {
        "hostk8s.stack": "foundation-airflow",
        "hostk8s.storage.name": "dags",
        "app.kubernetes.io/managed-by": "hostk8s-agent",
    }
    assert volume.manifest["spec"] == {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "airflow",
        "hostPath": {"path": "/mnt/pv/airflow/dags", "type": "DirectoryOrCreate"},
    }


def test_a_persistent_volume_says_where_it_comes_from(desired: DesiredState, contract: Contract) -> None:
    """A person who finds the object in the cluster is led to the contract."""
    volume = next(one for one in desired.objects if one.directory == "dags")
    assert volume.manifest["metadata"]["annotations"] == {
        "hostk8s.io/workspace": "/work/space",
        "hostk8s.io/contract": "software/stacks/foundation/airflow/x.yaml",
        "hostk8s.io/contract-digest": contract.digest,
    }


def test_a_shared_storage_class_stands_once_and_names_no_stack(desired: DesiredState) -> None:
    """Stacks that share a StorageClass must not overwrite each other's version of it."""
    classes = [one for one in desired.objects if one.key.kind == "StorageClass"]
    assert [dict(one.manifest) for one in classes] == [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": "airflow",
                "labels": {"app.kubernetes.io/managed-by": "hostk8s-agent"},
                "annotations": {"hostk8s.io/workspace": "/work/space"},
            },
            "provisioner": "kubernetes.io/no-provisioner",
            "reclaimPolicy": "Retain",
            "volumeBindingMode": "Immediate",
            "allowVolumeExpansion": False,
        }
    ]


def test_storage_classes_come_before_the_volumes(desired: DesiredState) -> None:
    """The order of a plan is the order in which a person would do it."""
    assert [one.key.kind for one in desired.objects] == ["StorageClass", "PersistentVolume", "PersistentVolume"]


def test_directories_keep_owner_and_mode_of_the_contract(contract: Contract) -> None:
    """Defaults are filled in: 1000:1000 and 755."""
    assert render_desired_state(contract, "/w").directories == (
        DesiredDirectory("dags", "/mnt/pv/airflow/dags", 50000, 0, 0o775),
        DesiredDirectory("logs", "/mnt/pv/airflow/logs", 1000, 1000, 0o755),
    )
