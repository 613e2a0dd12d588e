"""The kubeconfig is replaced, cut short, emptied, taken away: a named condition, and then as before."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from reliability import Row

Wait = Callable[..., None]


def cut_short(path: Path, text: str) -> str:
    """As a writer leaves it half-way."""
    path.write_text(text[: len(text) // 2], encoding="utf-8")
    return "KubeconfigInvalid"


def empty(path: Path, _text: str) -> str:
    """As a writer begins."""
    path.write_text("", encoding="utf-8")
    return "KubeconfigInvalid"


def remove(path: Path, _text: str) -> str:
    """As `make clean` does."""
    path.unlink()
    return "KubeconfigMissing"


def make_unreadable(path: Path, _text: str) -> str:
    """As Docker does with a bind mount whose file is not there: a folder stands in its place."""
    path.unlink()
    path.mkdir()
    return "KubeconfigUnreadable"


def take_the_context(path: Path, text: str) -> str:
    """As `kind delete cluster` does with a kubeconfig that others share."""
    document = {**yaml.safe_load(text), "contexts": []}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return "KubeconfigInvalid"


def name_another_user(path: Path, text: str) -> str:
    """As that of another cluster at the same address."""
    document = yaml.safe_load(text)
    document["users"][0]["user"] = {"token": "nobody-has-this-one"}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return "ClusterUnauthenticated"


# A short run tries the first three.
FAULTS = (cut_short, remove, name_another_user, empty, make_unreadable, take_the_context)


@pytest.mark.engine
@pytest.mark.cluster
@pytest.mark.fault(
    "K7",
    "the kubeconfig cut short, emptied, removed, unreadable, without its context, of another user",
    holds="the condition is named; with the kubeconfig back all is as before",
    target="all",
    short=3,
    full=60,
)
def test_a_spoilt_kubeconfig_is_named_and_recovered_from(
    row: Row, real_site: Any, tmp_path: Path, wait_until: Wait
) -> None:
    """No restart, no command; stacks that are saved meanwhile or afterwards are served."""
    good = Path(real_site.environment["KUBECONFIG"])
    text = good.read_text(encoding="utf-8")
    own = tmp_path / "kubeconfig"
    shutil.copy(good, own)
    real_site.environment["KUBECONFIG"] = str(own)
    real_site.start()
    stack = f"{real_site.prefix}-app"
    real_site.save(stack)
    real_site.wait_for(stack, "Ready")
    for trial in row.trials():
        with trial as number:
            code = FAULTS[number % len(FAULTS)](own, text)
            wait_until(
                lambda code=code: code in [one["code"] for one in real_site.status()["problems"]], f"{code} is named"
            )
            if own.is_dir():
                own.rmdir()
            real_site.save(stack, size=f"{number + 2}Gi")
            own.write_text(text, encoding="utf-8")
            began = time.monotonic()
            real_site.wait_until_connected()
            wait_until(lambda: not real_site.status()["problems"], "nothing is wrong any more")
            row.measure("recovered after", time.monotonic() - began, "s", limit=5)
            wait_until(
                lambda number=number: real_site.stack(stack)["volumes"][0]["capacity"] == f"{number + 2}Gi",
                "what was saved meanwhile is in place",
            )
            real_site.wait_for(stack, "Ready")
