"""The alert rules and the Grafana dashboard, judged by Prometheus' own tool and held to the table of metrics."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.metrics.collecting import Sources
from hostk8s_agent.metrics.exposition import AgentMetrics
from hostk8s_agent.status.model import AgentInfo, AgentStatus, ClusterStatus, DockerStatus, WatchStatus

ROOT = Path(__file__).parents[2]
OBSERVABILITY = ROOT / "infra/observability"
PAGE = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
STATUS = AgentStatus(
    AgentInfo("Running", "0.1.0", 1, "/w", ""),
    DockerStatus("Connected", "", "", ""),
    ClusterStatus("Connected", "", "", ""),
    WatchStatus("inotify", (), "2025-01-31T08:00:00.000Z"),
)


def promtool(testbed: Any, *arguments: str, stdin: bytes = b"") -> str:
    """Run promtool and return what it said; what it does not like fails the test in its words."""
    done = subprocess.run(
        [testbed.run("tool", "promtool"), *arguments],
        cwd=OBSERVABILITY,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()


@pytest.mark.tools
def test_each_alert_fires_when_it_should_and_not_before(testbed: Any) -> None:
    """The rules are run over made-up hours."""
    assert "SUCCESS" in promtool(testbed, "check", "config", "prometheus.yaml")
    assert "SUCCESS" in promtool(testbed, "test", "rules", "alerts_test.yaml")


@pytest.mark.tools
def test_prometheus_finds_nothing_to_complain_of_in_the_names(testbed: Any) -> None:
    """Base units, suffixes, help texts: as its own linter wants them."""
    metrics = AgentMetrics(Sources(lambda: STATUS, lambda: 0, lambda: {("get", "200"): 1}, lambda: 0))
    metrics.reconciles.run_ended("ok", 0.1)
    assert promtool(testbed, "check", "metrics", stdin=metrics.render()) == ""


@pytest.mark.parametrize("file", ["alerts.yaml", "grafana-dashboard.json"])
def test_only_metrics_that_there_are_are_asked_for(file: str) -> None:
    """A renamed metric must not leave an alert that can never fire, nor an empty panel."""
    known = set(re.findall(r"^\| `(hostk8s_\w+)` \|", PAGE, re.MULTILINE))
    asked = set(re.findall(r"\bhostk8s_\w+", (OBSERVABILITY / file).read_text(encoding="utf-8")))
    assert {name.removesuffix("_bucket") for name in asked} <= known


def test_every_alert_is_tried() -> None:
    """A rule without a test is a hope."""
    rules = re.findall(r"alert: (\w+)", (OBSERVABILITY / "alerts.yaml").read_text(encoding="utf-8"))
    tried = set(re.findall(r'alertname="(\w+)"', (OBSERVABILITY / "alerts_test.yaml").read_text(encoding="utf-8")))
    assert set(rules) == tried


def test_the_dashboard_has_one_panel_in_one_place() -> None:
    """Panels that overlap, or have one id, are moved about by Grafana as it likes."""
    panels = json.loads((OBSERVABILITY / "grafana-dashboard.json").read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _y in cells) == 23
