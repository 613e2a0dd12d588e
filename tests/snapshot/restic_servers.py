"""What restic is served by over a network: Debian's sshd (SFTP), and moto (S3), both on loopback for one test."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.snapshot.restic_ground import PASSWORD, write_private

from hostk8s_agent.snapshot.restic.environment import ResticPlace

DEADLINE_SECONDS = 30.0

SSHD_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
"""
SSH_CONFIG = """\
Host *
  Port {port}
  IdentityFile {folder}/user
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known
  StrictHostKeyChecking accept-new
  LogLevel ERROR
  BatchMode yes
"""
# As root it wants a user of its own and a folder, which this machine need not have: they are there for it alone.
AS_ROOT = """\
mount --bind {folder}/passwd /etc/passwd && mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$@"
"""


@contextmanager
def serve_sftp(folder: Path, sshd: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ResticPlace]:
    """Serve this machine's files to its own user over SFTP; no key or configuration of a person is read."""
    port = _find_port()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "sshd_config").write_text(SSHD_CONFIG.format(port=port, folder=folder))
    (folder / "ssh_config").write_text(SSH_CONFIG.format(port=port, folder=folder))
    programs = folder / "programs"
    programs.mkdir()
    # restic starts `ssh`, which takes its files from the user's home, whatever HOME says.
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    command = [sshd, "-D", "-e", "-f", str(folder / "sshd_config")]
    if os.geteuid() == 0:
        users = Path("/etc/passwd").read_text()
        (folder / "passwd").write_text(
            users + "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n" * ("sshd:" not in users)
        )
        command = ["unshare", "--mount", "sh", "-c", AS_ROOT.format(folder=folder), "sh", *command]
    with _running(command, port, folder / "sshd.log"):
        yield ResticPlace(
            f"sftp:{getpass.getuser()}@127.0.0.1:{folder}/served", write_private(folder / "password", PASSWORD)
        )


@contextmanager
def serve_s3(folder: Path, moto_server: str) -> Iterator[ResticPlace]:
    """Serve a bucket over S3's protocol."""
    port = _find_port()
    command = [moto_server, "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, folder / "moto.log"):
        keys = "AWS_ACCESS_KEY_ID=an-id\nAWS_SECRET_ACCESS_KEY=a-secret-key\n"
        yield ResticPlace(
            f"s3:http://127.0.0.1:{port}/hostk8s/sample",
            write_private(folder / "password", PASSWORD),
            environment_file=write_private(folder / "variables", keys),
        )


def _find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@contextmanager
def _running(
    command: Sequence[str], port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield
    finally:
        server.terminate()
        server.wait()
