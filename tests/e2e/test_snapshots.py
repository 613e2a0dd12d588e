"""Snapshots by the command: with an agent and without one, on a bare machine and on the real engine."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.snapshot.conftest import restic_tools
from tests.snapshot.restic_ground import make_place

from hostk8s_agent.snapshot.repository import Repository

# A fixture of the snapshots' tests, which a test asks for by name.
__all__ = ["restic_tools"]

COMMAND = Path(sys.executable).with_name("hostk8s-agent")


def ask(site: Any, *arguments: str, code: int = 0) -> Any:
    """What a verb of snapshots answers as JSON."""
    done = site.run("snapshot", *arguments, "-o", "json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def wreck_and_restore(site: Any, folder: Path) -> None:
    """Take one, lose everything, bring it back, bring the loss back, and look at what there is."""
    (folder / "precious").write_text("precious", encoding="utf-8")
    (folder / "deep").mkdir()
    (folder / "deep/link").symlink_to("/nowhere")
    taken = ask(site, "create", "sample", "--name", "mine", "--pin")
    assert (taken["state"], taken["pinned"], taken["files"]) == ("good", True, 1)
    shutil.rmtree(folder / "deep")
    (folder / "precious").write_text("wrecked", encoding="utf-8")
    refused = site.run("snapshot", "restore", "sample")
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    assert (folder / "precious").read_text(encoding="utf-8") == "wrecked"
    outcome = ask(site, "restore", "sample@mine", "--yes")
    assert (folder / "precious").read_text(encoding="utf-8") == "precious"
    assert (folder / "deep/link").is_symlink()
    assert outcome["safety"]["tags"] == ["before-restore"]
    ask(site, "restore", "sample", "--undo", "--yes")
    assert (folder / "precious").read_text(encoding="utf-8") == "wrecked"
    listed = ask(site, "list", "sample")
    assert [one["state"] for one in listed["snapshots"]] == ["good"] * 3
    assert not Path(listed["repository"]).is_relative_to(site.root)


def test_without_an_agent_the_command_does_it_itself(site: Any) -> None:
    """Under the repository's lock."""
    site.save("sample")
    assert site.run("run", "--once").returncode == 0
    wreck_and_restore(site, site.root / "data/pv" / site.prefix / "sample/one")
    assert ask(site, "verify", "--all")["isWhole"]
    assert site.run("snapshot", "cat", "mine", "one/precious").stdout == "precious"
    assert site.run("snapshot", "diff", "mine", "latest").returncode in (0, 1)


def test_an_agent_does_it_when_asked_and_shows_it(site: Any) -> None:
    """`status` knows what there is."""
    site.start()
    site.save("sample")
    site.wait_for("sample", "Ready")
    wreck_and_restore(site, site.root / "data/pv" / site.prefix / "sample/one")

    def has_snapshots() -> bool:
        (directory,) = site.status()["snapshots"]["directories"]
        return bool(directory["snapshots"] >= 3 and directory["lastVerifiedAt"])

    site._wait_until(has_snapshots, "status shows the snapshots")
    assert site.stack("sample")["state"] == "Ready"
    assert "1 directories protected" in site.run("status").stdout


def test_who_waits_is_told_how_far_it_is_and_may_go_away(site: Any) -> None:
    """Progress as JSON lines beside the document; after Ctrl-C, and with --no-wait, the agent goes on."""
    site.start()
    site.save("sample")
    site.wait_for("sample", "Ready")
    done = site.run("snapshot", "create", "sample", "-o", "json")
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(one["type"], one["phase"]) for one in told if not one["doneBytes"]] == [
        ("progress", "waiting"),
        ("progress", "reading"),
        ("progress", "verifying"),
    ]
    assert json.loads(done.stdout)["state"] == "good"

    repository = Repository(Path(site.status()["snapshots"]["repository"]))
    with repository.lock.held("a test", wait_seconds=5):
        begun = site.run("snapshot", "create", "sample", "--name", "unattended", "--no-wait", "-o", "json")
        assert json.loads(begun.stdout)["snapshot"] is None, begun.stderr
        command = [str(COMMAND), "snapshot", "create", "sample", "--name", "interrupted", "-o", "json"]
        with subprocess.Popen(command, cwd=site.root, env=site.environment, stderr=subprocess.PIPE) as waiting:
            assert waiting.stderr is not None
            assert json.loads(waiting.stderr.readline())["phase"] == "waiting"
            waiting.send_signal(signal.SIGINT)
            assert b"the agent goes on with the snapshot" in waiting.stderr.read()
        assert waiting.returncode == 130
    good = {"", "unattended", "interrupted"}
    site._wait_until(
        lambda: {one["name"] for one in ask(site, "list")["snapshots"] if one["state"] == "good"} == good,
        "all are there",
    )
    refused = site.run("snapshot", "create", "nobody", "--no-wait")
    assert (refused.returncode, "there is no stack nobody" in refused.stderr) == (2, True)


@pytest.mark.tools
@pytest.mark.parametrize("with_agent", [False, True])
def test_a_lost_disk_comes_back_from_restic(restic_tools: None, request: Any, tmp_path: Path, with_agent: bool) -> None:  # noqa: FBT001
    """The repository's own folder is gone, and one command brings its manifests back, with an agent or without."""
    del restic_tools
    site = request.getfixturevalue("site")
    place = make_place(tmp_path)
    site.environment["HOSTK8S_AGENT_SNAPSHOT_RESTIC_REPOSITORY"] = place.repository
    site.environment["HOSTK8S_AGENT_SNAPSHOT_RESTIC_PASSWORD_FILE"] = str(place.password_file)
    site.save("sample")
    if with_agent:
        site.start()
        site.wait_for("sample", "Ready")
        assert site.status()["snapshots"]["resticRepository"] == place.repository
    else:
        assert site.run("run", "--once").returncode == 0
    folder = site.root / "data/pv" / site.prefix / "sample/one"
    (folder / "precious").write_bytes(bytes(range(256)) * 1000)
    taken = ask(site, "create", "sample")
    listed = ask(site, "list")
    assert listed["resticRepository"] == place.repository
    assert f"their content in {place.repository}" in site.run("snapshot", "list").stderr
    shutil.rmtree(listed["repository"])
    (folder / "precious").unlink()
    outcome = ask(site, "recover")
    assert [(one["id"], one["state"]) for one in outcome["recovered"]] == [(taken["id"], "unverified")]
    assert (outcome["present"], outcome["unusable"], outcome["looseArchives"]) == ([], [], [])
    told = site.run("snapshot", "recover")
    assert (told.returncode, "0 recovered, 1 were here already, 0 unusable" in told.stderr) == (0, True)
    ask(site, "restore", f"sample@{taken['id']}", "--yes")
    assert (folder / "precious").read_bytes() == bytes(range(256)) * 1000
    assert ask(site, "verify", "--all")["isWhole"]


@pytest.mark.engine
@pytest.mark.cluster
def test_a_lost_volume_comes_back_from_outside_docker(real_site: Any, docker_engine: Any) -> None:
    """The tree is in the repository on the host, and goes back with owners and modes."""
    site = real_site
    site.start()
    site.save("sample")
    site.wait_for("sample", "Ready")
    folder = docker_engine.mountpoint(site.environment["HOSTK8S_AGENT_VOLUME_NAME"]) / site.prefix / "sample/one"
    (folder / "precious").write_text("precious", encoding="utf-8")
    ask(site, "create", "sample", "--name", "mine")
    shutil.rmtree(folder)
    ask(site, "restore", "sample@mine", "--yes")
    assert (folder / "precious").read_text(encoding="utf-8") == "precious"
    assert (folder.stat().st_uid, folder.stat().st_mode & 0o7777) == (26, 0o750)


def answer_at_terminal(site: Any, *arguments: str, answer: bytes, meanwhile: Callable[[], object]) -> tuple[int, str]:
    """Run a verb at a terminal, do something while it asks, answer it; return its exit code and what it showed."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(site.root)
        os.execve(COMMAND, [str(COMMAND), "snapshot", *arguments], site.environment)
    shown = b""
    # It ends with an error once nobody has the other end (Linux).
    with suppress(OSError):
        while piece := os.read(terminal, 1 << 16):
            is_asked_now = b"[y/N]" in shown + piece and b"[y/N]" not in shown
            shown += piece
            if is_asked_now:
                meanwhile()
                os.write(terminal, answer)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown.decode()


def test_what_a_person_agrees_to_is_what_was_shown(site: Any) -> None:
    """Also when another snapshot is taken, and is the latest, before the answer; and no is no."""
    site.save("sample")
    assert site.run("run", "--once").returncode == 0
    word = site.root / "data/pv" / site.prefix / "sample/one/word"
    word.write_text("shown", encoding="utf-8")
    taken = ask(site, "create", "sample", "--name", "first")

    def take_another() -> None:
        word.write_text("taken meanwhile", encoding="utf-8")
        ask(site, "create", "sample", "--name", "second")

    code, shown = answer_at_terminal(site, "restore", "sample", answer=b"y\n", meanwhile=take_another)
    assert (code, taken["id"] in shown) == (0, True)
    assert word.read_text(encoding="utf-8") == "shown"

    code, shown = answer_at_terminal(site, "forget", "latest", answer=b"no\n", meanwhile=lambda: None)
    assert (code, "nothing was changed" in shown) == (2, True)
    assert "(of sample, good, 'second', the newest good one) for good?" in shown
    assert {"first", "second"} < {one["name"] for one in ask(site, "list")["snapshots"]}
