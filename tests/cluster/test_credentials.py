"""Credentials: plugins, certificates, proxies, and where key material stands."""

from __future__ import annotations

import base64
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from hostk8s_agent.cluster.connection import ClusterConnection
from hostk8s_agent.cluster.credentials import load_credentials
from hostk8s_agent.cluster.errors import KubeconfigInvalidError
from hostk8s_agent.cluster.kubeconfig import KubeconfigSource, load_kubeconfig

if TYPE_CHECKING:
    from tests.cluster.conftest import Connect

Wait = Callable[..., None]


def change_user(kubeconfig: Path, user: dict[str, Any]) -> str:
    """Give the kubeconfig's user other credentials; return the token that it had."""
    document = yaml.safe_load(kubeconfig.read_text())
    token = str(document["users"][0]["user"].get("token", ""))
    document["users"][0]["user"] = user
    kubeconfig.write_text(yaml.safe_dump(document))
    return token


@pytest.mark.cluster
def test_a_credential_plugin_is_run(connect: Connect, own_kubeconfig: Path, tmp_path: Path, wait_until: Wait) -> None:
    """An exec plugin's token is what the API server gets."""
    plugin = tmp_path / "plugin"
    command = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}}
    token = change_user(own_kubeconfig, command)
    plugin.write_text(
        f"#!/bin/sh\ncat <<'E'\n"
        f'{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"{token}"}}}}\nE\n'
    )
    plugin.chmod(0o755)
    connected = connect(own_kubeconfig)

    wait_until(lambda: connected.state == "Connected")


@pytest.mark.cluster
def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    connect: Connect, own_kubeconfig: Path, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local cluster is reached although a corporate proxy is set, as kubectl does it."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    connected = connect(own_kubeconfig)

    wait_until(lambda: connected.state == "Connected")


@pytest.mark.cluster
def test_a_client_certificate_is_used_and_its_key_is_left_nowhere(own_kubeconfig: Path, tmp_path: Path) -> None:
    """Inline keys stand in a folder of the owner's alone only while they are loaded."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=someone", "-keyout", key, "-out", certificate, "-days", "1"],
        check=True, capture_output=True,
    )  # fmt: skip
    change_user(
        own_kubeconfig,
        {
            "client-certificate-data": base64.b64encode(certificate.read_bytes()).decode(),
            "client-key-data": base64.b64encode(key.read_bytes()).decode(),
        },
    )
    scratch = tmp_path / "scratch"
    kubeconfig = load_kubeconfig(KubeconfigSource((own_kubeconfig,), "settings"))
    credentials = load_credentials(kubeconfig, scratch)

    assert credentials.tls is not None
    assert [one["subject"] for one in credentials.tls.get_ca_certs()] == [((("commonName", "hostk8s-testbed"),),)]
    assert credentials.authorize() == ""
    assert list(scratch.iterdir()) == []
    assert stat.S_IMODE(scratch.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "user",
    [
        {"client-certificate-data": "bm9wZQ==", "client-key-data": "bm9wZQ=="},
        {"client-certificate-data": "***", "client-key-data": "***"},
        {"client-certificate": "/nonexistent/s3cret-free", "client-key": "/nonexistent"},
        {"tokenFile": "/nonexistent"},
        {"exec": {"command": 7}, "token": ["s3cret-canary"]},
        {"username": 7, "password": "s3cret-canary"},
        {"auth-provider": {"name": "oidc", "config": {"id-token": "s3cret-canary"}}},
        {"auth-provider": "s3cret-canary"},
    ],
)
def test_credentials_of_no_use_are_told_without_quoting_them(tmp_path: Path, user: dict[str, Any]) -> None:
    """Whatever the package says about them, no secret stands in what is raised, and no key in the scratch folder."""
    path = tmp_path / "config"
    document = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(document))
    kubeconfig = load_kubeconfig(KubeconfigSource((path,), "settings"))
    said = ""
    try:
        load_credentials(kubeconfig, tmp_path / "scratch").authorize()
    except KubeconfigInvalidError as error:
        said = f"{error!r}{error.__cause__!r}{error.__context__!r}"

    assert "s3cret-canary" not in said
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_a_killed_predecessor_left_is_removed_at_the_start(tmp_path: Path) -> None:
    """Key material of a process that was killed in the wrong moment does not stay."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "tmp1234").write_text("key")
    connection = ClusterConnection(
        source=KubeconfigSource((tmp_path / "missing",), "settings"),
        scratch_folder=scratch,
        on_change=lambda: None,
        on_object=lambda _: None,
    )
    connection.start()
    found = list(scratch.iterdir())
    connection.stop()

    assert found == []


def test_importing_the_connection_imports_no_client() -> None:
    """The kubernetes package and its HTTP client are imported by the connecting thread, not by whoever composes."""
    script = (
        "import sys, hostk8s_agent.cluster.connection, hostk8s_agent.cluster.manifests\n"
        "print([name for name in ('kubernetes', 'urllib3', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
