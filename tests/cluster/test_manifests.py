"""Files that stand in for a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hostk8s_agent.cluster.errors import ManifestFolderError
from hostk8s_agent.cluster.manifests import ManifestFiles
from hostk8s_agent.plan.actions import ApplyObject
from hostk8s_agent.plan.desired import DesiredObject, ObjectKey
from hostk8s_agent.plan.differing import diff_object
from hostk8s_agent.plan.observed import ObservedObject
from hostk8s_agent.plan.ownership import is_ours

STACK = "foundation/airflow"
CLASS: dict[str, Any] = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "fast"},
    "provisioner": "kubernetes.io/no-provisioner",
}
VOLUME: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "PersistentVolume",
    "metadata": {"name": "pv", "labels": {"hostk8s.stack": "airflow"}},
    "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]},
}


def action(manifest: dict[str, Any]) -> ApplyObject:
    return ApplyObject(key_of(manifest), manifest, "test")


def key_of(manifest: dict[str, Any]) -> ObjectKey:
    return ObjectKey(manifest["kind"], manifest["metadata"]["name"])


KEYS = [key_of(CLASS), key_of(VOLUME)]


def test_objects_stand_in_the_stacks_own_file(tmp_path: Path) -> None:
    """One file a stack, in the stack's folder, that says what it is and that kubectl could apply."""
    ManifestFiles(tmp_path).apply_objects(STACK, [action(VOLUME), action(CLASS)])
    text = (tmp_path / "foundation/airflow.yaml").read_text()

    assert list(yaml.safe_load_all(text)) == [CLASS, VOLUME]
    assert text.startswith("# The storage of the stack foundation/airflow")
    assert [path.name for path in (tmp_path / "foundation").iterdir()] == ["airflow.yaml"]


def test_what_was_applied_is_observed_without_drift(tmp_path: Path) -> None:
    """Another process that reads the files sees the same objects, ours, and nothing to do."""
    applied = ManifestFiles(tmp_path).apply_objects(STACK, [action(CLASS), action(VOLUME)])
    observed = ManifestFiles(tmp_path).observe_objects(STACK, KEYS)

    assert tuple(observed[key] for key in KEYS) == applied
    assert [observed[key].phase for key in KEYS] == ["", "Manifest"]
    for manifest in (CLASS, VOLUME):
        assert diff_object(DesiredObject(key_of(manifest), manifest), observed[key_of(manifest)]) == ()
        assert is_ours(observed[key_of(manifest)])
    assert ManifestFiles(tmp_path).observe_claims(KEYS) == ()
    assert ManifestFiles(tmp_path).observe_objects("other", KEYS) == {}


def test_an_unchanged_file_is_not_written_again(tmp_path: Path) -> None:
    """Neither its contents nor its inode change."""
    files = ManifestFiles(tmp_path)
    files.apply_objects(STACK, [action(VOLUME)])
    before = (tmp_path / "foundation/airflow.yaml").stat()
    files.apply_objects(STACK, [action(VOLUME)])
    after = (tmp_path / "foundation/airflow.yaml").stat()

    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_an_edited_field_is_drift_and_is_put_back(tmp_path: Path) -> None:
    """A hand edit is seen as the field that it changed."""
    files = ManifestFiles(tmp_path)
    files.apply_objects(STACK, [action(VOLUME)])
    path = tmp_path / "foundation/airflow.yaml"
    path.write_text(path.read_text().replace("1Gi", "9Gi"))
    observed = files.observe_objects(STACK, KEYS)[key_of(VOLUME)]
    drift = diff_object(DesiredObject(key_of(VOLUME), VOLUME), observed)
    files.apply_objects(STACK, [action(VOLUME)])

    assert [(one.field, one.desired, one.observed) for one in drift] == [("spec.capacity.storage", "1Gi", "9Gi")]
    assert list(yaml.safe_load_all(path.read_text())) == [VOLUME]


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xfe\x00",
        b"a: [",
        b"[" * 100_000,
        b"- 1\n---\nnull\n---\ntext\n",
        b"kind: PersistentVolume\nmetadata: null\n",
        b"kind: PersistentVolume\nmetadata: {name: 7}\n",
        b"kind: [1]\n",
        b"!!python/object/apply:os.system ['true']\n",
        b"a: &a [x, x]\nb: *a\n",
        b"x" * (5 * 1024 * 1024),
    ],
    ids=range(11),
)
def test_garbage_counts_as_absent_and_is_written_over(tmp_path: Path, garbage: bytes) -> None:
    """Whatever stands in the file, reading it fails nobody, and applying mends it."""
    files = ManifestFiles(tmp_path)
    path = tmp_path / "foundation/airflow.yaml"
    path.parent.mkdir()
    path.write_bytes(garbage)

    assert files.observe_objects(STACK, KEYS) == {}
    outcomes = files.apply_objects(STACK, [action(VOLUME)])
    assert [type(one) for one in outcomes] == [ObservedObject]
    assert list(yaml.safe_load_all(path.read_text())) == [VOLUME]


def test_a_file_that_cannot_be_read_is_an_error_and_never_absent(tmp_path: Path) -> None:
    """A folder where the file belongs: observing says so, and each action fails with the reason."""
    (tmp_path / "foundation/airflow.yaml").mkdir(parents=True)
    files = ManifestFiles(tmp_path)

    with pytest.raises(ManifestFolderError) as raised:
        files.observe_objects(STACK, KEYS)
    assert raised.value.retryable
    assert [type(one) for one in files.apply_objects(STACK, [action(VOLUME)])] == [ManifestFolderError]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """Where the file system is full the former file stands as it was, and nothing unfinished is left beside it."""
    script = f"""
import resource, signal, sys
from hostk8s_agent.cluster.manifests import ManifestFiles
from hostk8s_agent.plan.actions import ApplyObject
from hostk8s_agent.plan.desired import ObjectKey
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
new = {{**{VOLUME!r}, "spec": {{"capacity": {{"storage": "2Gi"}}}}}}
outcome, = ManifestFiles(__import__("pathlib").Path({str(tmp_path)!r})).apply_objects(
    {STACK!r}, [ApplyObject(ObjectKey("PersistentVolume", "pv"), new, "test")])
sys.stdout.write(type(outcome).__name__)
"""
    ManifestFiles(tmp_path).apply_objects(STACK, [action(VOLUME)])
    before = (tmp_path / "foundation/airflow.yaml").read_bytes()
    # In a process of its own: the limit on the size of files is a process's.
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )

    assert done.stdout == "ManifestFolderError", done.stderr
    assert (tmp_path / "foundation/airflow.yaml").read_bytes() == before
    assert [path.name for path in (tmp_path / "foundation").iterdir()] == ["airflow.yaml"]


@pytest.mark.parametrize("stack", ["..", "../x", "a/../../x", "a//b", ""])
def test_no_stack_leaves_the_folder(tmp_path: Path, stack: str) -> None:
    """A name that is no folder's name is refused."""
    with pytest.raises(ManifestFolderError):
        ManifestFiles(tmp_path / "inner").observe_objects(stack, KEYS)
    assert [type(one) for one in ManifestFiles(tmp_path / "inner").apply_objects(stack, [action(VOLUME)])] == [
        ManifestFolderError
    ]
    assert list(tmp_path.iterdir()) == []
