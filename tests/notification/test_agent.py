"""A real agent tells somebody: what, to whom and whether it worked is seen, and no secret is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from hostk8s_agent.status.records import Records
from hostk8s_agent.workspace import Workspace, state_folder

SECRETS = ("canary-path", "canary-token", "canary-word")


def test_a_problem_is_told_and_no_secret_is(
    site: Any, hook: Any, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """By the webhook and by the command, once, over a restart too; `notify test` tries them."""
    settings = tmp_path / "config/hostk8s-agent/settings.yaml"
    settings.parent.mkdir(parents=True)
    text = yaml.safe_dump(
        {
            "notify_webhook_url": f"{hook.url}/canary-path",
            "notify_webhook_token": "canary-token",
            "notify_command": ["/bin/sh", "-c", f"cat >> {tmp_path}/told; : canary-word"],
            "notify_after_seconds": 0,
            "log_level": "debug",
        }
    )
    settings.write_text(text, encoding="utf-8")
    site.save("bad", "kind: Nonsense\n")
    site.start()

    def channels() -> list[tuple[str, str, str, int]]:
        found = site.status()["notifications"]
        return [(one["channel"], one["target"], one["state"], one["delivered"]) for one in found]

    delivered = [("webhook", "127.0.0.1", "Delivered", 1), ("command", "sh", "Delivered", 1)]
    wait_until(lambda: channels() == delivered, "both are told")
    ((path, headers, body),) = hook.posts
    assert (path, headers["Authorization"], body["stacks"]) == ("/canary-path", "Bearer canary-token", ["bad"])
    assert "bad is Invalid" in (tmp_path / "told").read_text(encoding="utf-8")
    said = [site.run(*arguments) for arguments in (("status",), ("status", "-o", "json"), ("events", "-o", "json"))]
    assert "notification.delivered" in said[-1].stdout
    said.append(site.run("dump", "--to", str(tmp_path / "dump.tar.gz")))
    unpacked = subprocess.run(["tar", "-xzOf", tmp_path / "dump.tar.gz"], capture_output=True, text=True, check=True)
    said += [site.run("settings", "show", "--origin"), site.run("settings", "show", "-o", "yaml")]
    assert "notify_webhook_url" not in said[-1].stdout

    assert site.stop() == 0
    settings.write_text(f"{text}workers: many\n", encoding="utf-8")
    site.start()
    hook.status = 404
    tried = site.run("notify", "test", "-o", "json")
    said += [tried, site.run("status")]
    assert tried.returncode == 1
    assert [one["state"] for one in json.loads(tried.stdout)["channels"]] == ["Failing", "Delivered"]
    assert "HostK8s workspace: this is a test" in [body["title"] for _, _, body in hook.posts]
    assert "NotificationFailed" in said[-1].stdout
    # Of the stack nothing was told again; the settings that are not valid may have been.
    assert all(body["stacks"] != ["bad"] for _, _, body in hook.posts[1:])
    everything = "".join(
        [*(one.stdout + one.stderr for one in said), unpacked.stdout, site.log.read_text(encoding="utf-8")]
    )
    assert [secret for secret in SECRETS if secret in everything] == []


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_was_not_delivered_is_told_after_the_next_start(
    site: Any, hook: Any, wait_until: Callable[..., None], end: str
) -> None:
    """Once, though the repeat is a day away; by the channel that failed, and not by the one that has told it."""
    told = site.root / "told"
    site.environment.update(
        HOSTK8S_AGENT_NOTIFY_WEBHOOK_URL=hook.url,
        HOSTK8S_AGENT_NOTIFY_COMMAND=json.dumps(["/bin/sh", "-c", f"cat >> '{told}'"]),
        HOSTK8S_AGENT_NOTIFY_AFTER_SECONDS="0",
    )
    hook.status = 503
    site.save("bad", "kind: Nonsense\n")
    site.start()

    def facts() -> dict[str, str]:
        with closing(Records(state_folder(Workspace(site.root.resolve())), is_kept=False)) as records:
            return records.load_facts()

    def states() -> list[str]:
        return [one["state"] for one in site.status()["notifications"]]

    wait_until(lambda: states() == ["Failing", "Delivered"], "one is told, the other cannot be")
    wait_until(
        lambda: facts().get("notification.undelivered") and facts().get("notification.told"), "what waits is recorded"
    )
    getattr(site, end)()
    hook.status = 200
    hook.posts.clear()
    site.start()
    wait_until(lambda: states()[0] == "Delivered", "it is told")
    assert [body["stacks"] for _, _, body in hook.posts] == [["bad"]]
    wait_until(lambda: not facts().get("notification.undelivered"), "nothing waits any more")
    assert site.stop() == 0
    site.start()
    # It has looked when it tells of something new.
    site.save("worse", "kind: Nonsense\n")
    wait_until(lambda: len(hook.posts) > 1, "the new one is told")
    assert [body["stacks"] for _, _, body in hook.posts] == [["bad"], ["worse"]]
    assert told.read_text(encoding="utf-8").count("workspace: bad is Invalid") == 1


def test_without_an_agent_it_is_tried_from_here(site: Any, hook: Any) -> None:
    """And without a channel it is said that nobody is told."""
    assert site.run("notify", "test").returncode == 1
    site.environment["HOSTK8S_AGENT_NOTIFY_WEBHOOK_URL"] = hook.url
    tried = site.run("notify", "test")
    assert (tried.returncode, tried.stdout.split()) == (
        0,
        ["CHANNEL", "TARGET", "STATE", "MESSAGE", "webhook", "127.0.0.1", "Delivered"],
    )
