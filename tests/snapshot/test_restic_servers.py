"""The restic engine over SFTP and S3, with Debian's sshd and moto: what was taken comes back, failures are told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.snapshot.conftest import Ground, describe
from tests.snapshot.restic_ground import write_private
from tests.snapshot.restic_servers import serve_s3, serve_sftp

from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.model import SnapshotState
from hostk8s_agent.snapshot.requests import RestoreRequest

pytestmark = [pytest.mark.tools, pytest.mark.usefixtures("restic_tools")]


@pytest.fixture(params=["sftp", "s3"])
def server(
    ground: Ground, request: pytest.FixtureRequest, testbed: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ExitStack]:
    """A server that the stack's snapshots go to; it ends when the stack is closed."""
    with ExitStack() as stack:
        if request.param == "sftp":
            serving = serve_sftp(ground.folder, testbed.run("tool", "sshd"), monkeypatch)
        else:
            serving = serve_s3(ground.folder, testbed.run("tool", "moto_server"))
        ground.restic = stack.enter_context(serving)
        yield stack


def test_what_was_taken_comes_back_from_a_server(ground: Ground, server: ExitStack) -> None:
    """Also with nothing left here; and once the server has gone, that is what it says, and nothing is added."""
    before = describe(ground.path())
    first = ground.service.select(ground.create())
    assert first.state is SnapshotState.GOOD
    ground.now += timedelta(hours=1)
    (ground.path() / "more").write_text("more")
    second = ground.create()
    ground.service.forget(second)
    shutil.rmtree(ground.folder / "repository")
    shutil.rmtree(ground.path())
    recovery = ground.service.recover_manifests()
    assert ([one.id for one in recovery.recovered], recovery.unusable, recovery.loose) == ([first.id], (), ())
    ground.service.restore(RestoreRequest("sample", first.id))
    assert describe(ground.path()) == before
    assert ground.service.verify([first.id])[0][0].is_whole
    kept = ground.repository.list_ids()
    server.close()
    (ground.path() / "more").write_text("more")
    with pytest.raises(AgentError) as raised:
        ground.create()
    assert (raised.value.code, "onnection refused" in raised.value.message) == ("ResticUnreachable", True), (
        raised.value.message
    )
    assert ground.repository.list_ids() == kept


def test_a_server_that_does_not_let_us_in_is_told(ground: Ground, server: ExitStack) -> None:
    """No key that it knows, or none at all: no snapshot is added."""
    del server
    place = ground.restic
    assert place is not None
    snapshot = ground.create()
    if place.repository.startswith("sftp:"):
        (ground.folder / "user.pub").write_text("")
        words = "Permission denied"
    else:
        ground.restic = replace(place, environment_file=write_private(ground.folder / "none", "# nothing\n"))
        words = "Access Denied"
    (ground.path() / "more").write_text("more")
    with pytest.raises(AgentError) as raised:
        ground.create()
    assert (raised.value.code, words in raised.value.message) == ("ResticRefused", True), raised.value.message
    assert ground.repository.list_ids() == [snapshot]
