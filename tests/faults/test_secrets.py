"""X3: secrets that stand everywhere reach no log, status, metric or support bundle. X4: the system unit's exposure."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.control.places import find_socket_paths, open_address
from hostk8s_agent.service.installing import Owner
from hostk8s_agent.service.systemd_files import render_system_files
from hostk8s_agent.workspace import Workspace
from reliability import Row

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: c
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:{port}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users:
  - name: u
    user: {{token: {token}, username: ada, password: {password}}}
"""
CONTRACT = """\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata: {{name: leaky}}
spec:
  password: {word}
  directories:
    - {{name: a, path: /mnt/pv/leaky, size: 1Gi, accessModes: [ReadWriteOnce], storageClass: manual, token: {token}}}
"""


def read_metrics(workspace: Workspace) -> str:
    """What the agent's own socket says of figures."""
    with socket.socket(socket.AF_UNIX) as asking:
        # A test's folders are deeper than the address of a socket is long.
        with open_address(find_socket_paths(workspace)[0]) as address:
            asking.connect(address)
        asking.sendall(b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")
        with asking.makefile("rb") as answer:
            return answer.read().decode()


@pytest.mark.fault(
    "X3",
    "canary secrets in environment, kubeconfig, contract, webhook and command, the agent at debug",
    holds="no log, status, metric, history, snapshot or support bundle has one",
    target="0 of 20",
    short=1,
    full=20,
)
def test_no_canary_gets_out(row: Row, site: Any, tmp_path: Path, wait_until: Any) -> None:
    """Every place where a secret may stand, every place where it could come out."""
    for trial in row.trials():
        with trial:
            canaries = {
                name: f"canary{secrets.token_hex(8)}"
                for name in (
                    *("url", "aws", "registry", "bearer", "password", "word", "token"),
                    *("hook_path", "hook_token", "command"),
                )
            }
            with socket.create_server(("127.0.0.1", 0)) as taken:
                port = taken.getsockname()[1]
            file = tmp_path / "kubeconfig"
            file.write_text(
                KUBECONFIG.format(port=port, token=canaries["bearer"], password=canaries["password"]), encoding="utf-8"
            )
            site.environment |= {
                "DOCKER_HOST": f"tcp://ada:{canaries['url']}@127.0.0.1:{port}",
                "KUBECONFIG": str(file),
                "AWS_SECRET_ACCESS_KEY": canaries["aws"],
                "REGISTRY_PASSWORD": canaries["registry"],
                "HOSTK8S_AGENT_LOG_LEVEL": "debug",
                # Nobody listens there, so that each try ends with an error of a library.
                "HOSTK8S_AGENT_NOTIFY_WEBHOOK_URL": f"http://127.0.0.1:{port}/{canaries['hook_path']}",
                "HOSTK8S_AGENT_NOTIFY_WEBHOOK_TOKEN": canaries["hook_token"],
                "HOSTK8S_AGENT_NOTIFY_COMMAND": json.dumps(["/bin/false", canaries["command"]]),
                "HOSTK8S_AGENT_NOTIFY_AFTER_SECONDS": "0",
                # What an earlier trial has told is told again.
                "HOSTK8S_AGENT_NOTIFY_REPEAT_SECONDS": "1",
            }
            site.save("kept")
            site.save("leaky", CONTRACT.format(word=canaries["word"], token=canaries["token"]))
            site.start()
            try:
                # The volume waits for the cluster, which is not there.
                wait_until(
                    lambda: [one["state"] for one in site.stack("kept").get("directories", ())] == ["Ready"],
                    "the contracts are judged",
                )
                wait_until(
                    lambda: all(one["state"] == "Failing" for one in site.status()["notifications"]),
                    "somebody was to be told",
                )
                said = [
                    done.stdout + done.stderr
                    for arguments in (
                        ("status",),
                        ("status", "-o", "json"),
                        ("events", "-o", "json"),
                        ("explain", "stack", "leaky"),
                        ("explain", "pvc", "default/none"),
                        ("notify", "test"),
                        ("snapshot", "create", "kept", "-o", "json"),
                        ("doctor", "-o", "json"),
                        ("settings", "show", "--origin"),
                        ("plan", "-o", "json"),
                    )
                    for done in [site.run(*arguments)]
                ]
                said.append(read_metrics(Workspace(site.root.resolve())))
                bundle = tmp_path / "dump.tar.gz"
                assert site.run("dump", "--to", str(bundle)).returncode == 0
                assert bundle.stat().st_mode & 0o777 == 0o600
            finally:
                site.stop()
            with tarfile.open(bundle) as tar:
                members = [tar.extractfile(one) for one in tar.getmembers()]
                said += [one.read().decode() for one in members if one is not None]
            said.append(site.log.read_text(encoding="utf-8"))
            repository = tmp_path / "share/hostk8s-agent"
            said += [file.read_bytes().decode("utf-8", "replace") for file in repository.rglob("*") if file.is_file()]
            everything = "\n".join(said)
            assert "leaky" in everything
            assert "hostk8s_problems" in everything
            assert any(file.suffix == ".json" for file in repository.rglob("manifests/*")), "a manifest was searched"
            for name, canary in canaries.items():
                encoded = base64.b64encode(canary.encode()).decode().rstrip("=")
                assert canary not in everything, f"the {name} canary got out"
                assert encoded not in everything, f"the {name} canary got out, encoded"


@pytest.mark.fault(
    "X4", "the system unit, judged offline", holds="systemd-analyze security", target="at most 2.0", short=1, full=1
)
def test_the_exposure_offline(row: Row, tmp_path: Path) -> None:
    """The score that systemd gives the template as it would be installed for an ordinary user."""
    owner = Owner(1000, 1000, "ada", Path("/home/ada"))
    for trial in row.trials():
        with trial:
            files = render_system_files(tmp_path, Workspace(Path("/srv/hostk8s")), ("/usr/bin/env",), {}, owner)
            drop_in = files[1].text.partition("[Service]\n")[2]
            unit = tmp_path / "hostk8s-agent@a.service"
            unit.write_text(files[0].text.replace("[Service]\n", f"[Service]\n{drop_in}"), encoding="utf-8")
            done = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit],
                capture_output=True,
                text=True,
                check=False,
            )
            # Beyond the threshold (tenths) it ends with a failure.
            assert done.returncode == 0, [*done.stdout.splitlines()[-1:], done.stderr]
