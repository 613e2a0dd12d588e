"""The connection to a real control plane: what it sees, what it costs, and how it comes and goes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from structlog.testing import capture_logs

from hostk8s_agent.cluster.connection import STATE_CHANGED
from hostk8s_agent.cluster.errors import ClusterUnavailableError
from hostk8s_agent.cluster.state import ConnectionTiming
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.plan.observed import ObservedClaim

pytestmark = pytest.mark.cluster

if TYPE_CHECKING:
    from tests.cluster.conftest import Connect, Connected, FreezingProxy, Person

Wait = Callable[..., None]


def test_a_connection_says_where_it_leads(connected: Connected, person: Person) -> None:
    """Context, server, version and the cluster's identity are known once it stands."""
    state = connected.connection.state()
    context = yaml.safe_load(person.kubeconfig.read_text())["current-context"]
    uid = person.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")

    assert ("Connected", context, uid, None) == (state.state, state.context, state.uid, state.problem)
    assert state.version.startswith("v1.")
    assert state.server.startswith("https://")


def test_what_a_person_does_is_seen_and_told(connected: Connected, person: Person, wait_until: Wait) -> None:
    """Objects made, edited and deleted with kubectl are observed, and each change is told."""
    volume = person.volume("a")
    key = ObjectKey("PersistentVolume", volume["metadata"]["name"])
    person.apply(volume)
    wait_until(lambda: key in connected.told and connected.observe(volume) is not None, "it is seen to be made")
    wait_until(lambda: connected.observe(volume).phase == "Available", "its phase is seen")
    before = len(connected.told)
    person.kubectl("label", "pv", key.name, "edited=yes")
    wait_until(lambda: len(connected.told) > before, "the edit is told")

    assert connected.observe(volume).manifest["metadata"]["labels"]["edited"] == "yes"

    before = len(connected.told)
    person.kubectl("delete", "pv", key.name)
    wait_until(lambda: connected.observe(volume) is None, "it is seen to go")
    assert len(connected.told) > before


def test_a_claim_is_seen_with_the_volume_that_it_is_bound_to(
    connected: Connected, person: Person, wait_until: Wait
) -> None:
    """A claim is told under its PersistentVolume's key, and is observed there."""
    volume = person.volume("a")
    key = ObjectKey("PersistentVolume", volume["metadata"]["name"])
    person.apply(person.storage_class(), volume, person.claim("c", key.name))
    expected = ObservedClaim(
        "default", f"{person.prefix}-c", "Bound", key.name, person.prefix, ("ReadWriteOnce",), "1Gi"
    )

    wait_until(lambda: connected.connection.observe_claims([key]) == (expected,), "the claim is seen to be bound")
    wait_until(lambda: connected.observe(volume).phase == "Bound", "the volume is seen to be bound")
    assert f"default/{person.prefix}-c" == connected.observe(volume).claim
    assert key in connected.told


def test_observing_costs_no_request(connected: Connected, person: Person, wait_until: Wait) -> None:
    """A stack that is touched and not changed is looked up in the mirror, not at the API server."""
    volume = person.volume("a")
    person.apply(volume)
    wait_until(lambda: connected.observe(volume) is not None)
    before = connected.count("get", "list", "apply", "patch")
    heartbeats = connected.connection.request_counts().get(("get", "200"), 0)
    for _ in range(1000):
        connected.observe(volume)
        connected.connection.observe_claims([ObjectKey("PersistentVolume", volume["metadata"]["name"])])
    after = connected.count("get", "list", "apply", "patch")
    heartbeats = connected.connection.request_counts().get(("get", "200"), 0) - heartbeats

    assert after - before - heartbeats == 0


def test_a_kubeconfig_may_come_after_the_agent(
    connect: Connect, kubeconfig: Path, tmp_path: Path, wait_until: Wait
) -> None:
    """Without a kubeconfig the agent waits and says so; when it comes, it connects."""
    path = tmp_path / "later"
    connected = connect(path)
    wait_until(lambda: connected.code == "KubeconfigMissing")
    with pytest.raises(ClusterUnavailableError) as raised:
        connected.connection.observe_objects("stack", [])
    requests = connected.count()
    path.write_text(kubeconfig.read_text())
    wait_until(lambda: connected.state == "Connected")

    assert (raised.value.problem.code, raised.value.retryable, requests) == ("KubeconfigMissing", True, 0)
    wait_until(lambda: connected.changes == ["NoKubeconfig", "Connecting", "Connected"], "each change is told once")


def test_a_kubeconfig_cut_short_does_not_end_a_connection(
    connect: Connect, own_kubeconfig: Path, wait_until: Wait
) -> None:
    """The last good kubeconfig stays in force, the problem is named, and it goes when the file is whole again."""
    connected = connect(own_kubeconfig)
    wait_until(lambda: connected.state == "Connected")
    text = own_kubeconfig.read_text()
    own_kubeconfig.write_text(text[: len(text) // 3])
    wait_until(lambda: connected.code == "KubeconfigInvalid")
    connected.connection.observe_objects("stack", [])
    cut = connected.state
    own_kubeconfig.unlink()
    wait_until(lambda: connected.code == "KubeconfigMissing")
    own_kubeconfig.write_text(text)
    wait_until(lambda: connected.code == "")

    assert (cut, connected.state) == ("Connected", "Connected")


def test_a_kubeconfig_whose_context_goes_is_named(connect: Connect, own_kubeconfig: Path, wait_until: Wait) -> None:
    """`kind delete cluster` takes the context out of a shared kubeconfig."""
    document = yaml.safe_load(own_kubeconfig.read_text())
    own_kubeconfig.write_text(yaml.safe_dump({**document, "contexts": []}))
    connected = connect(own_kubeconfig)
    wait_until(lambda: connected.state == "NoKubeconfig")
    assert connected.code == "KubeconfigInvalid"
    own_kubeconfig.write_text(yaml.safe_dump(document))
    wait_until(lambda: connected.state == "Connected")


def test_another_kubeconfig_is_followed(
    connect: Connect, own_kubeconfig: Path, limited_kubeconfig: Path, wait_until: Wait
) -> None:
    """A kubeconfig that is replaced leads to another connection at once, whatever the former one was worth."""
    connected = connect(own_kubeconfig)
    wait_until(lambda: connected.state == "Connected")
    text = own_kubeconfig.read_text()
    own_kubeconfig.write_text(limited_kubeconfig.read_text())
    wait_until(lambda: connected.state == "Refused")
    assert connected.code == "ClusterForbidden"
    own_kubeconfig.write_text(text)
    wait_until(lambda: connected.state == "Connected")


def test_a_touched_kubeconfig_is_no_reason_to_connect_again(
    connect: Connect, own_kubeconfig: Path, wait_until: Wait
) -> None:
    """Only other contents count."""
    connected = connect(own_kubeconfig)
    wait_until(lambda: connected.state == "Connected")
    lists = connected.count("list")
    os.utime(own_kubeconfig, (1, 1))
    heartbeats = connected.count("get") + 2
    wait_until(lambda: connected.count("get") >= heartbeats, "the supervisor has looked again")

    assert lists == connected.count("list")
    assert [one for one in connected.changes if one != "Connecting"] == ["Connected"]


def test_a_user_without_rights_is_refused_and_backs_off(
    connect: Connect, limited_kubeconfig: Path, wait_until: Wait
) -> None:
    """403 is a state with a problem that names the rights; it is asked about ever less often, in one log line."""
    with capture_logs() as logs:
        connected = connect(limited_kubeconfig)
        wait_until(lambda: connected.count() >= 6, "six attempts")
    with pytest.raises(ClusterUnavailableError) as raised:
        connected.connection.observe_objects("stack", [])

    assert connected.state == "Refused"
    assert (raised.value.problem.code, raised.value.retryable) == ("ClusterForbidden", True)
    assert "persistentvolumes" in raised.value.hint
    assert [(one["state"], one["code"]) for one in logs if one["event"] == STATE_CHANGED] == [
        ("Refused", "ClusterForbidden")
    ]
    assert {("get", "403")} == set(connected.connection.request_counts())


def test_a_certificate_of_another_cluster_is_not_trusted(
    connect: Connect, own_kubeconfig: Path, wait_until: Wait
) -> None:
    """The kubeconfig of a former cluster on the same port is told apart from a server that is away."""
    document = yaml.safe_load(own_kubeconfig.read_text())
    del document["clusters"][0]["cluster"]["certificate-authority-data"]
    own_kubeconfig.write_text(yaml.safe_dump(document))
    connected = connect(own_kubeconfig)

    wait_until(lambda: connected.code == "ClusterTlsFailed")
    assert connected.state == "Unreachable"


def test_a_silent_peer_is_noticed_and_recovered_from(
    connect: Connect, proxied_kubeconfig: Path, proxy: FreezingProxy, wait_until: Wait
) -> None:
    """A half-open connection says nothing, not even goodbye: the heartbeat finds out, and nothing stale is served."""
    connected = connect(proxied_kubeconfig)
    wait_until(lambda: connected.state == "Connected")
    proxy.freeze()
    began = time.monotonic()
    wait_until(lambda: connected.state == "Unreachable")
    noticed = time.monotonic() - began
    with pytest.raises(ClusterUnavailableError):
        connected.connection.observe_objects("stack", [])
    proxy.thaw()
    wait_until(lambda: connected.state == "Connected")

    # heartbeat + read_timeout + poll_kubeconfig of the fast timing is 1.5 s: 30 s of the real one.
    assert noticed < 3.0


def test_stopping_does_not_wait_for_a_silent_peer(
    connect: Connect, proxied_kubeconfig: Path, proxy: FreezingProxy, wait_until: Wait
) -> None:
    """Also a TLS handshake that the peer does not go on with is broken off, long before its timeout."""
    proxy.freeze()
    connected = connect(proxied_kubeconfig, ConnectionTiming(connect_timeout=60.0, read_timeout=60.0))
    wait_until(proxy.has_swallowed, "the handshake has begun")
    began = time.monotonic()
    connected.connection.stop()

    assert time.monotonic() - began < 1.0


def test_stopping_does_not_wait_for_the_end_of_a_watch(connect: Connect, kubeconfig: Path, wait_until: Wait) -> None:
    """Watches that wait for the next event are broken off."""
    connected = connect(kubeconfig, ConnectionTiming())
    wait_until(lambda: connected.count("watch") == 3, "all is watched")
    began = time.monotonic()
    connected.connection.stop()

    assert time.monotonic() - began < 1.0


def test_no_secret_reaches_the_log(connect: Connect, own_kubeconfig: Path, wait_until: Wait) -> None:
    """Neither a good kubeconfig's token nor a broken one's stands in any log line or problem."""
    document = yaml.safe_load(own_kubeconfig.read_text())
    token = document["users"][0]["user"]["token"]
    said: list[str] = []
    with capture_logs() as logs:
        connected = connect(own_kubeconfig)
        wait_until(lambda: connected.state == "Connected")
        document["users"][0]["user"] = {"exec": {"command": "/nonexistent", "env": [{"name": "T", "value": token}]}}
        own_kubeconfig.write_text(yaml.safe_dump(document))
        wait_until(lambda: connected.state in ("NoKubeconfig", "Refused"))
        said.append(repr(connected.connection.state()))
        document["users"][0]["user"] = {
            "token": token,
            "client-certificate-data": "bm9wZQ==",
            "client-key-data": "bm9wZQ==",
        }
        own_kubeconfig.write_text(yaml.safe_dump(document))
        wait_until(lambda: connected.state == "NoKubeconfig")
        said.append(repr(connected.connection.state()))

    assert token not in repr(logs) + "".join(said)
