"""The restic repository alone suffices: manifests are sent there, and come back from there, with the real restic."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.snapshot.conftest import Ground, describe, fill
from tests.snapshot.restic_ground import PASSWORD, list_copies, list_snapshots, make_quick_place

from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.documents import render_manifest
from hostk8s_agent.snapshot.errors import EngineUnknownError, ResticUnreachableError
from hostk8s_agent.snapshot.manifest_copies import iterate_listings, render_head
from hostk8s_agent.snapshot.model import Marks, SnapshotManifest, SnapshotState
from hostk8s_agent.snapshot.recovering import Recovery
from hostk8s_agent.snapshot.requests import RestoreRequest
from hostk8s_agent.snapshot.restic import process
from hostk8s_agent.snapshot.restic.environment import ResticPlace
from hostk8s_agent.snapshot.restic.manifests import ResticManifests, render_origin_tag

pytestmark = [pytest.mark.tools, pytest.mark.usefixtures("restic_tools")]


@pytest.fixture
def restic(ground: Ground) -> Ground:
    """A stack whose snapshots go to a restic repository of its own, and whose directories are recognised at once."""
    ground.restic = make_quick_place(ground.folder)
    ground.change(settled_seconds=-5.0)
    return ground


def place_of(ground: Ground) -> ResticPlace:
    """Where the restic repository is."""
    assert ground.restic is not None
    return ground.restic


def lose_the_disk(ground: Ground) -> None:
    """Nothing of ours is left on this machine."""
    shutil.rmtree(ground.folder / "repository")


def recover(ground: Ground, origin: str = "") -> Recovery:
    """What `snapshot recover` does."""
    return ground.service.recover_manifests(origin)


def store_by_hand(ground: Ground, path: str, content: bytes) -> None:
    """What somebody with the password can put there."""
    tags = ["hostk8s-agent", "hostk8s-manifest", render_origin_tag(ground.folder / "repository")]
    chosen = [word for tag in tags for word in ("--tag", tag)]
    subprocess.run(
        [
            "restic",
            "--no-cache",
            "--repo",
            place_of(ground).repository,
            "backup",
            "--stdin",
            "--stdin-filename",
            path,
            *chosen,
        ],
        env={**os.environ, "RESTIC_PASSWORD": PASSWORD},
        input=content,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def test_what_was_taken_is_restored_when_our_own_folder_is_gone(tmp_path: Path) -> None:
    """Byte for byte, from the restic repository alone; what comes back is not verified before it was read."""
    ground = Ground(tmp_path, ("data", "logs"), restic=make_quick_place(tmp_path))
    fill(ground.path())
    fill(ground.path("logs"), seed=2, files=40)
    before = describe(ground.path()), describe(ground.path("logs"))
    first = ground.create(name="first", is_pinned=True)
    ground.now += timedelta(hours=1)
    (ground.path() / "more").write_text("more")
    second = ground.create()
    taken = {one.id: one for one in ground.service.list()[0]}
    lose_the_disk(ground)
    shutil.rmtree(ground.root / "sample")

    recovery = recover(ground)
    assert [one.id for one in recovery.recovered] == [first, second]
    assert (recovery.present, recovery.unusable, recovery.others, recovery.loose) == ((), (), {}, ())
    found, problems = ground.service.list()
    assert problems == ()
    assert {one.id: replace(one, marks=Marks()) for one in found} == {
        name: replace(one, marks=Marks()) for name, one in taken.items()
    }
    assert [(one.state, one.is_pinned, one.verified_at) for one in found] == [
        (SnapshotState.UNVERIFIED, True, None),
        (SnapshotState.UNVERIFIED, False, None),
    ]
    again = recover(ground)
    assert (again.recovered, again.present) == ((), (first, second))

    ground.service.restore(RestoreRequest("sample", first))
    assert (describe(ground.path()), describe(ground.path("logs"))) == before
    assert all(one.is_whole for one in ground.service.verify()[0])
    assert ground.service.select("latest").id == second


def test_an_unchanged_snapshot_is_sent_with_the_next_start_of_restic(
    restic: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself it starts none; the daily tidying up, or the next change, takes its manifest along."""
    place = place_of(restic)
    first = restic.create()
    assert list_copies(place) == [first]

    def refuse() -> str:
        raise AssertionError("restic was started")

    restic.now += timedelta(hours=1)
    with monkeypatch.context() as patch:
        patch.setattr(process, "find_restic", refuse)
        second = restic.create()
    restic.service.tidy()
    assert list_copies(place) == [first, second]
    restic.now += timedelta(hours=1)
    third = restic.create()
    assert list_copies(place) == [first, second]
    restic.now += timedelta(hours=1)
    (restic.path() / "more").write_text("more")
    fourth = restic.create()
    assert list_copies(place) == [first, second, third, fourth]
    with monkeypatch.context() as patch:
        patch.setattr(process, "find_restic", refuse)
        restic.service.tidy()


def test_what_is_forgotten_does_not_come_back(restic: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for or expired, also where another snapshot has the same archives; the copy goes before them."""
    place = place_of(restic)
    first = restic.create()
    restic.now += timedelta(hours=1)
    second = restic.create()
    restic.service.tidy()
    restic.service.forget(first)
    assert list_copies(place) == [second]
    restic.service.expire("sample", lambda snapshots, _problems: snapshots)
    assert (list_copies(place), list_snapshots(place)) == ([], set())
    restic.now += timedelta(hours=1)
    third = restic.create()
    with monkeypatch.context() as patch:
        patch.setattr("hostk8s_agent.snapshot.restic.engine.ResticEngine._forget", _die)
        with pytest.raises(KeyboardInterrupt):
            restic.service.forget(third)
    assert (list_copies(place), len(list_snapshots(place))) == ([], 1)
    lose_the_disk(restic)
    recovery = recover(restic)
    assert (recovery.recovered, recovery.unusable) == ((), ())
    assert set(recovery.loose) == list_snapshots(place)


def _die(*_arguments: object, **_named: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["before it is sent", "before it is known", "before the former is forgotten"])
def test_a_crash_leaves_nothing_that_lies(restic: Ground, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """The archives come first; a copy that nobody noted is found by its intent, and there is one in the end."""
    place = place_of(restic)
    first = restic.create()
    restic.service.pin(first, is_pinned=True)
    restic.now += timedelta(hours=1)
    (restic.path() / "more").write_text("more")
    struck = {"before it is sent": "send", "before it is known": "_keep", "before the former is forgotten": "forget"}
    with monkeypatch.context() as patch:
        patch.setattr(ResticManifests, struck[moment], _die)
        with pytest.raises(KeyboardInterrupt):
            restic.create()
    (second,) = {one.id for one in restic.service.list()[0]} - {first}
    assert set(list_copies(place)) >= {first}
    kept = restic.folder / "kept"
    shutil.copytree(restic.folder / "repository", kept)
    lose_the_disk(restic)
    recovered = recover(restic)
    assert first in {one.id for one in recovered.recovered}
    assert recovered.unusable == ()
    assert all(one.is_whole for one in restic.service.verify()[0])

    lose_the_disk(restic)
    kept.rename(restic.folder / "repository")
    restic.now += timedelta(hours=1)
    (restic.path() / "more").write_text("even more")
    third = restic.create()
    assert list_copies(place) == [first, second, third]
    lose_the_disk(restic)
    assert [one.is_pinned for one in recover(restic).recovered] == [True, False, False]


def test_a_server_that_goes_after_the_data_costs_the_copy_alone(
    restic: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot is there and good, and the next one takes its manifest along."""

    def lose(*_arguments: object) -> None:
        raise ResticUnreachableError("it went", hint="")

    with monkeypatch.context() as patch:
        patch.setattr(ResticManifests, "send", lose)
        first = restic.service.select(restic.create())
    assert (first.state, list_copies(place_of(restic))) == (SnapshotState.GOOD, [])
    restic.service.verify()
    assert list_copies(place_of(restic)) == [first.id]


def test_a_manifest_that_is_lost_alone_comes_back_and_nothing_goes_meanwhile(restic: Ground) -> None:
    """Also with the ledger: what was sent is known, and nothing is forgotten in restic while manifests are missing."""
    place = place_of(restic)
    first = restic.create()
    restic.service.pin(first, is_pinned=True)
    for gone in ("manifests", "ledger", "listings"):
        path = restic.folder / "repository" / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (problem,) = restic.service.list()[1]
    assert (problem.code, "snapshot recover" in problem.hint) == ("ManifestMissing", True)
    restic.now += timedelta(hours=1)
    (restic.path() / "more").write_text("more")
    second = restic.create()
    assert list_copies(place) == [first, second]
    assert len(list_snapshots(place)) == 2
    recovery = recover(restic)
    assert ([one.id for one in recovery.recovered], recovery.present) == ([first], (second,))
    # What was said here after it was sent is kept.
    assert restic.service.select(first).is_pinned
    assert restic.service.list()[1] == ()
    assert restic.service.verify()[0][0].is_whole


def test_nothing_that_is_here_is_replaced(restic: Ground) -> None:
    """Neither by a copy that says something else, nor where what is here is broken; both are told."""
    first = restic.create()
    file = restic.folder / "repository/manifests" / f"{first}.json"
    for here in (b"{}", render_manifest(replace(restic.service.select(first), name="another"))):
        file.write_bytes(here)
        (unusable,) = recover(restic).unusable
        assert (unusable.snapshot, unusable.problem.code) == (first, "ManifestDuplicate")
        assert "move manifests/" in unusable.problem.hint
        assert file.read_bytes() == here
    file.unlink()
    assert [one.id for one in recover(restic).recovered] == [first]


def _change_a_file(copy: SnapshotManifest, lines: list[bytes]) -> list[bytes]:
    del copy
    return [*lines[:-1], lines[-1].replace(b'"mtime":"1', b'"mtime":"2', 1)]


def _cut(copy: SnapshotManifest, lines: list[bytes]) -> list[bytes]:
    del copy
    return lines[:-1]


def _add(copy: SnapshotManifest, lines: list[bytes]) -> list[bytes]:
    del copy
    return [*lines, b'{"path":"../../etc/passwd"}\n']


def _rename_the_stack(copy: SnapshotManifest, lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(copy.stack.encode(), b"another"), *lines[1:]]


def _have_it_newer(copy: SnapshotManifest, lines: list[bytes]) -> list[bytes]:
    del copy
    return [lines[0].replace(b'"format":1', b'"format":2', 1), *lines[1:]]


def _leave_nothing(copy: SnapshotManifest, lines: list[bytes]) -> list[bytes]:
    del copy, lines
    return [b"\n"]


def _nest(copy: SnapshotManifest, lines: list[bytes]) -> list[bytes]:
    del copy, lines
    return [b"[" * 100_000 + b"\n"]


def test_a_copy_that_is_not_what_was_written_is_told_and_adds_nothing(restic: Ground) -> None:
    """Whoever has the password may have put it there."""
    snapshot = restic.service.select(restic.create())
    text = render_head(snapshot) + b"".join(iterate_listings(restic.repository, snapshot))
    lines = [line + b"\n" for line in text.splitlines()]
    lose_the_disk(restic)
    for change, code in (
        (_change_a_file, "ManifestForged"),
        (_cut, "ManifestForged"),
        (_add, "ManifestForged"),
        (_rename_the_stack, "ManifestForged"),
        (_have_it_newer, "RepositoryNewer"),
        (_leave_nothing, "ManifestForged"),
        (_nest, "ManifestForged"),
    ):
        # The newest one counts.
        store_by_hand(restic, f"/sample.{snapshot.id}.jsonl", b"".join(change(snapshot, lines)))
        (unusable,) = recover(restic).unusable
        assert (unusable.snapshot, unusable.problem.code) == (snapshot.id, code), change
        assert restic.service.list() == ((), ())
        assert list((restic.folder / "repository/listings").iterdir()) == []
    store_by_hand(restic, f"/sample.{snapshot.id}.jsonl", text)
    assert len(recover(restic).recovered) == 1


def test_a_copy_without_its_archives_or_from_the_future_is_told(restic: Ground) -> None:
    """It is unusable: nothing could be restored of it; what is dated after now is trusted nowhere."""
    snapshot = restic.service.select(restic.create())
    text = render_head(snapshot) + b"".join(iterate_listings(restic.repository, snapshot))
    lose_the_disk(restic)
    restic.now -= timedelta(hours=1)
    (unusable,) = recover(restic).unusable
    assert unusable.problem.code == "ManifestFromFuture"
    restic.now += timedelta(hours=1)
    assert len(recover(restic).recovered) == 1
    restic.service.forget(snapshot.id)
    lose_the_disk(restic)
    store_by_hand(restic, f"/sample.{snapshot.id}.jsonl", text)
    (unusable,) = recover(restic).unusable
    assert (unusable.problem.code, "is not in the restic" in unusable.problem.message) == ("SnapshotDamaged", True)
    assert restic.service.list() == ((), ())


def test_what_another_place_has_sent_is_taken_over_only_when_asked_for(restic: Ground, tmp_path: Path) -> None:
    """It is told by name; from then on it belongs here, and is found under this place's name after a second loss."""
    first = restic.create()
    other = Ground(tmp_path / "new", restic=restic.restic, now=restic.now)
    recovery = recover(other)
    origin = restic.repository.engine.manifests.origin  # type: ignore[union-attr]
    assert origin.endswith(f":{restic.folder}/repository")
    assert (recovery.recovered, recovery.others) == ((), {origin: 1})
    assert [one.id for one in recover(other, origin).recovered] == [first]
    other.service.tidy()
    assert list_copies(place_of(restic)) == [first]
    lose_the_disk(other)
    assert [one.id for one in recover(other).recovered] == [first]
    assert recover(restic).recovered == ()


def test_a_suspect_snapshot_comes_back_as_one_and_a_damaged_one_is_not_sent(restic: Ground) -> None:
    """What a person was to look at must not become the latest good one by a detour."""
    restic.create()
    shutil.rmtree(restic.path())
    restic.path().mkdir()
    restic.now += timedelta(hours=1)
    second = restic.service.select(restic.create())
    assert second.state is SnapshotState.SUSPECT
    lose_the_disk(restic)
    recover(restic)
    found = restic.service.verify([second.id])[0][0].snapshot
    assert (found.state, found.marks.reason) == (SnapshotState.SUSPECT, second.marks.reason)


def test_without_a_restic_repository_it_is_told(ground: Ground) -> None:
    """With the setting that is missing."""
    with pytest.raises(EngineUnknownError) as raised:
        ground.service.recover_manifests()
    assert "snapshot_restic_repository" in raised.value.hint


def test_a_copy_is_read_by_hand(restic: Ground) -> None:
    """Lines of JSON: the manifest, then each entry."""
    snapshot = restic.service.select(restic.create())
    told: Any = json.loads(
        subprocess.run(
            [
                "restic",
                "--no-cache",
                "--repo",
                place_of(restic).repository,
                "snapshots",
                "--json",
                "--tag",
                "hostk8s-manifest",
            ],
            env={**os.environ, "RESTIC_PASSWORD": PASSWORD},
            capture_output=True,
            check=True,
        ).stdout
    )
    dumped = subprocess.run(
        [
            "restic",
            "--no-cache",
            "--repo",
            place_of(restic).repository,
            "dump",
            told[0]["id"],
            f"/sample.{snapshot.id}.jsonl",
        ],
        env={**os.environ, "RESTIC_PASSWORD": PASSWORD},
        capture_output=True,
        check=True,
    ).stdout.splitlines()
    head, tree, *entries = (json.loads(line) for line in dumped)
    assert head["manifest"]["id"] == snapshot.id
    assert tree["tree"] == snapshot.directories[0].archive.tree
    assert len(entries) == snapshot.directories[0].entries


def test_an_unreachable_repository_is_told_at_once(restic: Ground) -> None:
    """Nothing is made up of what is here."""
    restic.create()
    restic.restic = replace(place_of(restic), repository="rest:http://127.0.0.1:9/")
    with pytest.raises(AgentError) as raised:
        recover(restic)
    assert raised.value.code == "ResticUnreachable"
