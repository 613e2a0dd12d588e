"""What a person does with the volume, by the command: orphans, the trash, and a volume that was lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Site

from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.workspace import Workspace


@pytest.fixture
def second_site(tmp_path: Path, wait_until: Callable[..., None], real_site: Any) -> Iterator[Site]:
    """A git worktree beside the first workspace: the same engine and volume, another cluster (here files)."""
    site = Site(tmp_path / "second", wait_until)
    for name in ("DOCKER_HOST", "HOSTK8S_AGENT_VOLUME_NAME"):
        site.environment[name] = real_site.environment[name]
    yield site
    assert site.stop() == 0, site.log.read_text(encoding="utf-8")


def test_the_old_directory_of_a_changed_path_is_shown_purged_and_brought_back(site: Any) -> None:
    """Nothing is moved by itself; each step is a command, and only the last one deletes."""
    site.start()
    site.save("sample")
    site.wait_for("sample", "Ready")
    old, path = site.root / "data/pv" / site.prefix / "sample/one", f"/mnt/pv/{site.prefix}/sample/one"
    (old / "data").write_text("precious", encoding="utf-8")
    site.save("sample", path=f"/mnt/pv/{site.prefix}/elsewhere")

    def orphans() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ControlClient(Workspace(site.root.resolve())).orphans()["orphans"]
        return found

    site._wait_until(lambda: [one["path"] for one in orphans()] == [path], "the old path is an orphan")
    assert (orphans()[0]["stack"], orphans()[0]["sizeBytes"]) == ("sample", 8)
    assert path in site.run("orphans").stdout
    refused = site.run("purge", f"/mnt/pv/{site.prefix}/elsewhere")
    assert (refused.returncode, "the stack sample asks for it" in refused.stderr) == (2, True)
    assert site.run("purge", path).returncode == 0
    assert not old.exists()
    assert site.run("purge", "--undo", path).returncode == 0
    assert (old / "data").read_text(encoding="utf-8") == "precious"
    assert site.run("purge", path).returncode == 0
    unasked = site.run("purge", "--empty-trash")
    assert (unasked.returncode, "nobody is there to be asked" in unasked.stderr) == (2, True)
    assert json.loads(site.run("orphans", "-o", "json").stdout)["trash"][0]["path"] == path
    assert site.run("purge", "--empty-trash", "--yes").stdout == f"deleted: {path}\n"
    assert list((site.root / "data/pv/.hostk8s-trash/trees").iterdir()) == []
    assert site.stack("sample")["state"] == "Ready"


@pytest.mark.engine
@pytest.mark.cluster
def test_a_lost_volume_is_told_before_and_after_a_restart_and_ends_on_a_persons_word(
    real_site: Any, docker_engine: Any
) -> None:
    """Never Ready, never made anew by itself: `status` says in one sentence what happened and what to do."""
    site, volume = real_site, real_site.environment["HOSTK8S_AGENT_VOLUME_NAME"]
    site.save("sample")
    site.start()
    site.wait_for("sample", "Ready")
    docker_engine.docker("volume", "rm", volume)
    site.wait_for("sample", "Blocked")
    assert site.status()["docker"]["state"] == "VolumeLost"
    assert site.codes("sample") == ["VolumeLost"]
    assert site.stop() == 0
    site.start()
    site.wait_for("sample", "Blocked")
    assert docker_engine.docker("volume", "ls", "--quiet", "--filter", f"name={volume}") == ""
    shown = site.run("volume")
    assert (shown.returncode, "is gone" in shown.stderr) == (1, True)
    assert site.run("volume", "--accept-loss").returncode == 0
    site.wait_for("sample", "Ready")
    assert docker_engine.mountpoint(volume).joinpath(site.prefix, "sample/one").is_dir()
    assert site.run("volume", "--accept-loss").returncode == 1


@pytest.mark.engine
@pytest.mark.cluster
def test_what_keeps_the_volume_is_taken_away_by_a_person_alone(real_site: Any, docker_engine: Any) -> None:
    """The container stays when the agent stops, and `volume --release` ends it once no agent runs."""
    site, volume = real_site, real_site.environment["HOSTK8S_AGENT_VOLUME_NAME"]
    site.environment["HOSTK8S_AGENT_KEEP_VOLUME"] = "true"
    site.save("sample")
    site.start()
    site.wait_for("sample", "Ready")
    name = f"hostk8s-agent-keeps-{volume}"
    assert site.run("volume", "--release").returncode == 75
    assert site.stop() == 0
    assert name in docker_engine.docker("ps", "--all", "--format", "{{.Names}}")
    assert site.run("volume", "--release").returncode == 0
    assert name not in docker_engine.docker("ps", "--all", "--format", "{{.Names}}")


@pytest.mark.engine
@pytest.mark.cluster
def test_two_workspaces_on_one_volume_do_not_share_a_path(real_site: Any, docker_engine: Any, second_site: Any) -> None:
    """The second one, with a cluster of its own, is Blocked with the first one's name, and cannot take over from it."""
    first, second = real_site, second_site
    first.save("sample")
    first.start()
    first.wait_for("sample", "Ready")
    folder = docker_engine.mountpoint(first.environment["HOSTK8S_AGENT_VOLUME_NAME"])
    holders = folder / ".hostk8s-agent/holders"
    first._wait_until(
        lambda: any(b"/mnt/pv/" in one.read_bytes() for one in holders.glob("*.json")), "the claim is told"
    )
    path = f"/mnt/pv/{first.prefix}/sample/one"
    second.save("sample", path=path, owner="0:0")
    second.start()
    second.wait_for("sample", "Blocked")
    assert second.codes("sample") == ["PathHeldElsewhere"]
    assert str(first.root) in second.stack("sample")["message"]
    assert (folder / first.prefix / "sample/one").stat().st_uid == 26
    refused = second.run("take-over", path)
    assert (refused.returncode, str(first.root) in refused.stderr) == (2, True)
    assert path in second.run("volume").stdout
