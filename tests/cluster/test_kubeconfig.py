"""Which kubeconfig holds, and what is said of one that is of no use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from hostk8s_agent.cluster.errors import KubeconfigContextError, KubeconfigError
from hostk8s_agent.cluster.kubeconfig import KubeconfigSource, find_kubeconfig, load_kubeconfig
from hostk8s_agent.cluster.kubeconfig_watch import KubeconfigWatch
from hostk8s_agent.workspace import Workspace


def kubeconfig_document(context: str = "kind-hostk8s", server: str = "https://127.0.0.1:6443") -> dict[str, Any]:
    return {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "s3cret-canary"}}],
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        "current-context": context,
    }


def test_a_kubeconfig_is_looked_for_in_the_order_of_the_documentation(tmp_path: Path) -> None:
    """The setting wins over KUBECONFIG, that over .env, that over the workspace's own."""
    workspace = Workspace(tmp_path)
    default = find_kubeconfig(workspace, {})
    (tmp_path / ".env").write_text("CLUSTER_NAME=dev\nKUBECONFIG_PATH=./elsewhere/config\n")
    named = find_kubeconfig(workspace, {})
    given = find_kubeconfig(workspace, {"KUBECONFIG": f"/a/one{os.pathsep}{os.pathsep}/b/two"})
    configured = find_kubeconfig(workspace, {"KUBECONFIG": "/a/one"}, configured=Path("/c/three"), cluster_name="prod")

    assert [(one.paths, one.origin, one.preferred_context) for one in (default, named, given, configured)] == [
        ((tmp_path / "data/kubeconfig/config",), "workspace default", "kind-hostk8s"),
        ((tmp_path / "elsewhere/config",), ".env KUBECONFIG_PATH", "kind-dev"),
        ((Path("/a/one"), Path("/b/two")), "KUBECONFIG", "kind-dev"),
        ((Path("/c/three"),), "settings", "kind-prod"),
    ]


def test_the_clusters_own_context_is_preferred_to_the_current_one(tmp_path: Path) -> None:
    """A personal KUBECONFIG whose current context is another cluster does not lead the agent there."""
    document = kubeconfig_document()
    document["clusters"].append({"name": "prod", "cluster": {"server": "https://prod:6443"}})
    document["contexts"].append({"name": "prod", "context": {"cluster": "prod", "user": "u"}})
    document["current-context"] = "prod"
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(document))

    found = load_kubeconfig(KubeconfigSource((path,), "KUBECONFIG", "kind-hostk8s"))
    meant = load_kubeconfig(KubeconfigSource((path,), "KUBECONFIG", "kind-hostk8s", context="prod"))

    assert (found.context, found.server) == ("kind-hostk8s", "https://127.0.0.1:6443")
    assert (meant.context, meant.server) == ("prod", "https://prod:6443")
    with pytest.raises(KubeconfigContextError) as raised:
        load_kubeconfig(KubeconfigSource((path,), "KUBECONFIG", "kind-absent"))
    assert "leads to https://prod:6443 by its current context prod" in raised.value.message
    assert "set kube_context to prod" in raised.value.hint


def test_whoever_switches_kubectl_to_another_cluster_does_not_move_the_agent(tmp_path: Path) -> None:
    """The context that was used stays in use; when it goes, its cluster's objects are made in no other cluster."""
    path = tmp_path / "config"
    document = kubeconfig_document("mine")
    path.write_text(yaml.safe_dump(document))
    watch = KubeconfigWatch(KubeconfigSource((path,), "KUBECONFIG", "kind-hostk8s"))
    assert watch.look()
    document["contexts"].append({"name": "other", "context": {"cluster": "c", "user": "u"}})
    document["current-context"] = "other"
    path.write_text(yaml.safe_dump(document))
    watch.look()
    assert (watch.problem, watch.current and watch.current.context) == (None, "mine")

    document["contexts"][0]["name"] = "third"
    path.write_text(yaml.safe_dump(document))
    assert [watch.look(), watch.look()] == [False, False]
    assert watch.problem is not None
    assert watch.problem.code == "KubeconfigContext"
    assert "its current one, other, is not used in its place" in watch.problem.message
    assert watch.current is not None
    assert watch.current.context == "mine"
    # A restart knows it too.
    again = KubeconfigWatch(KubeconfigSource((path,), "KUBECONFIG", "kind-hostk8s", used_context="mine"))
    again.look()
    assert (again.current, again.problem) == (None, watch.problem)


@pytest.mark.parametrize(
    ("used", "is_of_workspace", "server", "is_followed"),
    [
        # A cluster that somebody made anew under another name: the kubeconfig has nothing else.
        ("mine", False, "https://127.0.0.1:6443", True),
        # It is gone, and what is left is another cluster of the same person.
        ("kind-hostk8s", False, "https://127.0.0.1:6443", False),
        ("mine", False, "https://prod:6443", False),
        # The workspace's kubeconfig has no clusters but the workspace's.
        ("kind-hostk8s", True, "https://prod:6443", True),
    ],
)
def test_the_only_context_takes_the_place_of_one_that_is_gone(
    tmp_path: Path, *, used: str, is_of_workspace: bool, server: str, is_followed: bool
) -> None:
    """No restart and no command where there can be no doubt."""
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(kubeconfig_document("new", server)))
    source = KubeconfigSource((path,), "KUBECONFIG", "kind-hostk8s", used_context=used, is_of_workspace=is_of_workspace)
    if is_followed:
        assert load_kubeconfig(source).context == "new"
    else:
        with pytest.raises(KubeconfigContextError):
            load_kubeconfig(source)


def test_a_kubeconfig_below_the_workspace_is_the_workspaces(tmp_path: Path) -> None:
    """Whoever named it; of several each has to be."""
    workspace = Workspace(tmp_path)
    assert find_kubeconfig(workspace, {}).is_of_workspace
    assert find_kubeconfig(workspace, {"KUBECONFIG": str(tmp_path / "data/config")}).is_of_workspace
    assert not find_kubeconfig(workspace, {"KUBECONFIG": f"{tmp_path}/data/config:/elsewhere/config"}).is_of_workspace


def test_a_password_in_the_servers_address_goes_no_further(tmp_path: Path) -> None:
    """The address is in the status, in errors and in the log."""
    path = tmp_path / "config"
    for given in ("https://ada:s3cret-canary@127.0.0.1:6443/a@b/", "https://s3cret-canary@127.0.0.1:6443/a@b"):
        path.write_text(yaml.safe_dump(kubeconfig_document(server=given)))
        assert load_kubeconfig(KubeconfigSource((path,), "KUBECONFIG")).server == "https://127.0.0.1:6443/a@b"


def test_several_files_are_joined_as_kubectl_joins_them(tmp_path: Path) -> None:
    """A file that is missing is passed over, and of two that define a name the first wins."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(yaml.safe_dump(kubeconfig_document("one", "https://127.0.0.1:1")))
    second.write_text(yaml.safe_dump(kubeconfig_document("two", "https://two:2")))

    found = load_kubeconfig(KubeconfigSource((tmp_path / "missing", first, second), "KUBECONFIG"))

    assert ("one", "https://127.0.0.1:1", f"{first}{os.pathsep}{second}") == (found.context, found.server, found.path)


def without(section: str) -> str:
    return yaml.safe_dump({name: value for name, value in kubeconfig_document().items() if name != section})


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (None, "KubeconfigMissing", "there is no kubeconfig"),
        ("", "KubeconfigInvalid", "is empty"),
        ("clusters: [{name: c, cluster: {server: 'https://", "KubeconfigInvalid", "cut short, line 1"),
        ("\x00\x01", "KubeconfigInvalid", "not YAML"),
        ("- a list", "KubeconfigInvalid", "is no kubeconfig"),
        ("[" * 100_000, "KubeconfigInvalid", "is no kubeconfig"),
        (without("current-context"), "KubeconfigInvalid", "names no current context"),
        (without("contexts"), "KubeconfigInvalid", "has no context kind-hostk8s"),
        (without("clusters"), "KubeconfigInvalid", "has no cluster c"),
        (without("users"), "KubeconfigInvalid", "has no user u"),
        (yaml.safe_dump(kubeconfig_document(server="ftp://x")), "KubeconfigInvalid", "gives no server"),
    ],
)
def test_a_kubeconfig_of_no_use_is_named_for_its_fault(tmp_path: Path, text: str | None, code: str, words: str) -> None:
    """Each fault has its code and its words, and none of them quotes a token."""
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)

    with pytest.raises(KubeconfigError) as raised:
        load_kubeconfig(KubeconfigSource((path,), "settings"))

    assert code == raised.value.code
    assert words in raised.value.message
    assert "s3cret" not in f"{raised.value!r}{raised.value.__cause__!r}{raised.value.__context__!r}"


def test_a_kubeconfig_that_is_a_folder_is_unreadable_and_not_missing(tmp_path: Path) -> None:
    """Docker makes a folder where a file that it should mount is missing: that has words of its own."""
    with pytest.raises(KubeconfigError) as raised:
        load_kubeconfig(KubeconfigSource((tmp_path,), "settings"))

    assert raised.value.code == "KubeconfigUnreadable"


def test_a_watched_kubeconfig_is_another_one_only_when_its_contents_are(tmp_path: Path) -> None:
    """Touching the file is no reason to connect again; another server is."""
    path = tmp_path / "config"
    watch = KubeconfigWatch(KubeconfigSource((path,), "settings"))
    missing = watch.look(), watch.problem
    path.write_text(yaml.safe_dump(kubeconfig_document()))
    appeared = watch.look(), watch.problem
    os.utime(path, (1, 1))
    touched = watch.look()
    path.write_text(yaml.safe_dump(kubeconfig_document(server="https://other:1")))
    changed = watch.look()

    assert (missing[0], missing[1].code if missing[1] else "") == (False, "KubeconfigMissing")
    assert appeared == (True, None)
    assert (touched, changed) == (False, True)


def test_a_kubeconfig_in_the_middle_of_being_written_is_not_believed_at_once(tmp_path: Path) -> None:
    """A good kubeconfig that turns bad is a problem at the second look, and the last good one stays in force."""
    path = tmp_path / "config"
    text = yaml.safe_dump(kubeconfig_document())
    path.write_text(text)
    watch = KubeconfigWatch(KubeconfigSource((path,), "settings"))
    watch.look()
    good = watch.current

    path.write_text(text[: len(text) // 2])
    first = watch.look(), watch.problem
    second = watch.look(), watch.problem
    path.write_text(text)
    mended = watch.look(), watch.problem

    assert first == (False, None)
    assert (second[0], second[1].code if second[1] else "") == (False, "KubeconfigInvalid")
    assert mended == (False, None)
    assert good == watch.current
