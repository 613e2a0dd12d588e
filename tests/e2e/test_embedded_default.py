"""On a machine with neither Docker nor a cluster the same command runs on its embedded default."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import yaml

from hostk8s_agent import __version__
from hostk8s_agent.status.records import load_last_known


def test_a_save_makes_the_directory_and_writes_the_objects(site: Any) -> None:
    """Directories below data/pv, objects as YAML, and the status says which serves."""
    site.start()
    site.save("sample")
    stack = site.wait_for("sample", "Ready")
    directory = site.root / "data/pv" / site.prefix / "sample/one"
    assert oct(directory.stat().st_mode) == "0o40750"
    written = yaml.safe_load_all((site.root / "data/manifests/sample.yaml").read_text(encoding="utf-8"))
    assert [one["kind"] for one in written] == ["StorageClass", "PersistentVolume"]
    assert [volume["phase"] for volume in stack["volumes"]] == ["Manifest"]
    status = site.status()
    assert (status["docker"]["state"], status["cluster"]["state"]) == ("Absent", "Absent")
    assert site.run("status").returncode == 0


def test_an_edit_is_followed(site: Any) -> None:
    """Mode and size change in place."""
    site.start()
    site.save("sample")
    site.wait_for("sample", "Ready")
    site.save("sample", permissions="0700", size="2Gi")
    directory = site.root / "data/pv" / site.prefix / "sample/one"
    site._wait_until(lambda: oct(directory.stat().st_mode) == "0o40700", "the new mode")
    site._wait_until(lambda: site.stack("sample")["volumes"][0]["capacity"] == "2Gi", "the new size")
    site.wait_for("sample", "Ready")


def test_a_changed_path_is_followed_in_the_file(site: Any) -> None:
    """What Kubernetes would not let anyone change is no obstacle in a file, and the old directory keeps its data."""
    site.start()
    site.save("sample")
    site.wait_for("sample", "Ready")
    kept = site.root / "data/pv" / site.prefix / "sample/one/data"
    kept.write_text("precious", encoding="utf-8")
    path = f"/mnt/pv/{site.prefix}/elsewhere"
    site.save("sample", path=path)
    site._wait_until(lambda: site.stack("sample")["directories"][0]["path"] == path, "the new path")
    site.wait_for("sample", "Ready")
    assert path in (site.root / "data/manifests/sample.yaml").read_text(encoding="utf-8")
    assert kept.read_text(encoding="utf-8") == "precious"


def test_the_first_lines_say_where_things_go_and_what_to_edit(site: Any) -> None:
    """A newcomer reads one line and knows what happens, and another that names the file."""
    file = site.save("sample")
    site.environment["HOSTK8S_AGENT_LOG_FORMAT"] = "text"
    site.start()
    site._wait_until(lambda: f"edit {file}" in site.log.read_text(encoding="utf-8"), "the line that names the file")
    log = site.log.read_text(encoding="utf-8")
    assert "no Docker: data/pv/ of the workspace stands in for the volume" in log
    assert "objects are written to data/manifests/" in log


def test_control_c_ends_it_cleanly(site: Any) -> None:
    """No traceback, and exit code 0."""
    site.start()
    site._agent.send_signal(signal.SIGINT)
    assert site._agent.wait(20) == 0
    site._agent = None
    assert "Traceback" not in site.log.read_text(encoding="utf-8")


def test_an_agent_that_is_stopped_is_named_with_what_ends_it(site: Any) -> None:
    """Not waited for as long as a plan may take, and the doctor's command is the one that mends it."""
    site.start()
    site._agent.send_signal(signal.SIGSTOP)
    try:
        planned, examined = site.run("plan"), site.run("doctor", "-o", "json")
    finally:
        site._agent.send_signal(signal.SIGCONT)
    kill = f"kill -KILL {site._agent.pid}"
    assert planned.returncode == 2
    assert "did not answer within" in planned.stderr
    assert kill in planned.stderr
    found = {one["check"]: one for one in json.loads(examined.stdout)}
    assert (found["agent"]["verdict"], found["lock"]["command"]) == ("failure", kill)
    assert found["agent"]["command"].startswith(kill)


def test_a_slip_in_a_stacks_name_is_no_event(site: Any) -> None:
    """It is told to whoever made it, with the stack that may be meant, and nobody else."""
    site.start()
    site.save("sample")
    site.wait_for("sample", "Ready")
    slip = site.run("snapshot", "create", "smaple")
    assert (slip.returncode, "did you mean sample?" in slip.stderr) == (2, True)
    assert "there is no snapshot of smaple yet" in site.run("snapshot", "list", "smaple").stderr
    kinds = [one["type"] for one in json.loads(site.run("events", "-o", "json").stdout)["events"]]
    assert "snapshot.create_failed" not in kinds


def test_only_a_file_is_written_over(site: Any, tmp_path: Path) -> None:
    """Not a folder, and above all no device: root would take /dev/null from the whole machine."""
    site.save("sample")
    assert site.run("run", "--once").returncode == 0
    assert site.run("snapshot", "create", "sample").returncode == 0
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for to in (fifo, tmp_path, tmp_path / "missing/file"):
        for arguments in (("dump", "--to", str(to)), ("snapshot", "export", "sample", str(to))):
            done = site.run(*arguments)
            assert (done.returncode, "fault of hostk8s-agent" in done.stderr) == (2, False)
    assert fifo.is_fifo()


def test_once_reconciles_and_ends(site: Any) -> None:
    """Exit code 0 when all is Ready, 1 when not."""
    site.save("sample")
    assert site.run("run", "--once").returncode == 0
    assert (site.root / "data/pv" / site.prefix / "sample/one").is_dir()
    site.save("broken", text="kind: StorageContract\n")
    assert site.run("run", "--once").returncode == 1


def test_a_second_agent_is_refused_and_says_who_runs(site: Any) -> None:
    """One writer a workspace: exit code 75, with the holder's process."""
    site.start()
    for arguments in (("run",), ("run", "--once")):
        second = site.run(*arguments)
        assert second.returncode == 75
        assert str(site._agent.pid) in second.stderr


def test_status_without_an_agent_shows_what_was_known(site: Any) -> None:
    """Exit code 3, nothing claimed as Ready, and the last known state is told."""
    site.start()
    site.save("sample")
    site.wait_for("sample", "Ready")
    assert site.stop() == 0
    done = site.run("status", "-o", "json")
    assert done.returncode == 3
    status = site.status()
    assert status["agent"]["state"] == "NotRunning"
    [stack] = status["stacks"]
    assert (stack["name"], stack["state"]) == ("sample", "Pending")
    assert "Ready" in stack["message"]


def test_plan_shows_what_would_be_done_and_does_nothing(site: Any) -> None:
    """Exit code 1 with changes, 0 without, and no trace on disk."""
    site.save("sample")
    planned = site.run("plan")
    assert planned.returncode == 1, planned.stderr
    assert f"/mnt/pv/{site.prefix}/sample/one" in planned.stdout
    assert not (site.root / "data").exists()
    assert site.run("run", "--once").returncode == 0
    assert site.run("plan").returncode == 0
    site.save("sample", text="nonsense")
    assert site.run("plan").returncode == 2


def test_a_crash_forgets_no_good_contract(site: Any) -> None:
    """The last good version is in force again after kill -9, also when the file has a slip by then."""
    site.start()
    site.save("sample")
    site.wait_for("sample", "Ready")
    site._wait_until(lambda: _recorded(site).get("sample", {}).get("state") == "Ready", "the record is on disk")
    site.kill()
    site.save("sample", text="apiVersion: nonsense\n")
    directory = site.root / "data/pv" / site.prefix / "sample/one"
    directory.rmdir()
    site.start()
    stack = site.wait_for("sample", "Invalid")
    assert [one["state"] for one in stack["directories"]] == ["Ready"]
    assert directory.is_dir()


def _recorded(site: Any) -> dict[str, Any]:
    [database] = Path(site.environment["XDG_STATE_HOME"]).rglob("state.db")
    return load_last_known(database)


def test_stacks_at_any_depth_appear_move_and_vanish(site: Any) -> None:
    """A folder that is moved in brings its contracts, one that is moved away takes them."""
    site.start()
    site.save("a/b/c")
    site.wait_for("a/b/c", "Ready")
    aside = site.root / "prepared/deep"
    aside.mkdir(parents=True)
    (aside / "hostk8s.storage.yaml").write_text(site.render("moved/deep"), encoding="utf-8")
    aside.parent.rename(site.stacks / "moved")
    site.wait_for("moved/deep", "Ready")
    (site.stacks / "moved").rename(site.root / "prepared")
    stack = site.wait_for("moved/deep", "Removing")
    assert stack["problems"][0]["code"] == "ContractGone"
    assert (site.root / "data/pv" / site.prefix / "moved/deep/one").is_dir()


def test_the_stacks_folder_may_come_later_and_come_back(site: Any) -> None:
    """Neither its absence nor its return needs a restart, and its absence removes nothing."""
    site.stacks.rmdir()
    site.start()
    site._wait_until(
        lambda: "StacksFolderMissing" in [problem["code"] for problem in site.status()["problems"]], "it is told"
    )
    site.save("sample")
    site.wait_for("sample", "Ready")
    site.stacks.rename(site.root / "elsewhere")
    site._wait_until(
        lambda: "StacksFolderMissing" in [problem["code"] for problem in site.status()["problems"]], "the loss is seen"
    )
    assert site.stack("sample")["state"] == "Ready"
    (site.root / "elsewhere").rename(site.stacks)
    site.save("sample", permissions="0711")
    directory = site.root / "data/pv" / site.prefix / "sample/one"
    site._wait_until(lambda: oct(directory.stat().st_mode) == "0o40711", "the return is seen")


def test_reconcile_puts_a_directory_back_at_once(site: Any) -> None:
    """The command waits for the run that it asked for."""
    site.start()
    site.save("sample")
    site.wait_for("sample", "Ready")
    directory = site.root / "data/pv" / site.prefix / "sample/one"
    directory.rmdir()
    done = site.run("reconcile", "sample", "--wait")
    assert done.returncode == 0, done.stderr
    assert directory.is_dir()
    assert site.run("reconcile", "no-such-stack").returncode not in {0, 3}


def test_the_version_is_told(site: Any) -> None:
    """For bug reports."""
    assert __version__ in site.run("--version").stdout


def test_logs_are_json_and_name_the_run(site: Any) -> None:
    """Every line of a run has the run's id."""
    site.start()
    site.save("sample")
    site.wait_for("sample", "Ready")
    assert site.stop() == 0
    lines = [yaml.safe_load(line) for line in site.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    runs = [line for line in lines if line.get("stack") == "sample"]
    assert runs
    assert all(line["reconcile_id"] for line in runs)


def test_nothing_of_the_agent_is_left_when_it_ends(site: Any) -> None:
    """No process, and no socket that answers."""
    site.start()
    pid = site._agent.pid
    assert site.stop() == 0
    assert subprocess.run(["kill", "-0", str(pid)], capture_output=True, check=False).returncode != 0
    assert site.run("status").returncode == 3
