"""A real agent tells somebody: what, to whom and whether it worked is seen, and no secret is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

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


def test_without_an_agent_it_is_tried_from_here(site: Any, hook: Any) -> None:
    """And without a channel it is said that nobody is told."""
    assert site.run("notify", "test").returncode == 1
    site.environment["HOSTK8S_AGENT_NOTIFY_WEBHOOK_URL"] = hook.url
    tried = site.run("notify", "test")
    assert (tried.returncode, tried.stdout.split()) == (
        0,
        ["CHANNEL", "TARGET", "STATE", "MESSAGE", "webhook", "127.0.0.1", "Delivered"],
    )
