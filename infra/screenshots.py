"""`make screenshots`: the dashboard's page as docs/screenshots/ shows it, and so that somebody looks at it.

Page, server and browser are the real ones. What they show is made up, so that a change of the page is the only thing
that changes a picture.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from playwright.sync_api import Browser, Page, sync_playwright

from hostk8s_agent.control.app import build_app
from hostk8s_agent.dashboard.service import Dashboard, DashboardOptions
from hostk8s_agent.errors import Problem
from hostk8s_agent.status.board import Event, StatusBoard, render_time
from hostk8s_agent.status.model import (
    AgentInfo,
    AgentStatus,
    ClusterStatus,
    DirectoryProtection,
    DirectoryStatus,
    DockerStatus,
    SnapshotsStatus,
    StackStatus,
    VolumeStatus,
    WatchStatus,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs/screenshots"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    # Grey edges of letters, not coloured ones: a picture takes half the bytes.
    "--disable-lcd-text",
]
MAX_BYTES = 150_000
NOW = time.time()
GIB = 1 << 30
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Shown:
    """One directory as a picture has it; sizes in bytes."""

    name: str
    owner: str
    permissions: str
    declared: int
    used: int
    is_claimed: bool = True


class PicturedSnapshots:
    """What snapshots there are: none, until some are added."""

    def __init__(self) -> None:
        self._snapshots: list[dict[str, Any]] = []

    def add(self, stack: StackStatus, hours: float, state: str = "good", **more: object) -> None:
        """Have one been taken of the stack, that long before the picture."""
        size = sum(one.used_bytes or 0 for one in stack.directories)
        taken = time.strftime("%Y%m%d-%H%M%S", time.gmtime(NOW - hours * 3600))
        plain = {"name": "", "tags": [], "pinned": False, "reason": "", "bytes": size, "state": state}
        when = {"takenAt": ago(hours * 3600), "verifiedAt": ago(hours * 3600 - 9) if state == "good" else ""}
        digest = hashlib.sha256(f"{stack.name} {hours}".encode()).hexdigest()[:8]
        self._snapshots.append({"id": f"{taken}-{digest}", "stack": stack.name, **plain, **when, **more})

    def status(self) -> SnapshotsStatus:
        """What status says of them."""
        by_age = sorted(self._snapshots, key=lambda one: str(one["takenAt"]))
        good = {one["stack"]: one for one in by_age if one["state"] == "good"}
        protected = tuple(
            DirectoryProtection(name, "data", good[name]["takenAt"] > ago(14 * 3600) if name in good else False, 3)
            for name in sorted({one["stack"] for one in self._snapshots})
        )
        return SnapshotsStatus("/home/ada/.local/share/hostk8s-agent/hostk8s-1f0c9a77/snapshots", 0, protected)

    def list(self, stack: str | None) -> dict[str, Any]:
        """The document of the control API."""
        del stack
        size = 38 * GIB if self._snapshots else 0
        return {"repository": "", "bytes": size, "snapshots": self._snapshots, "problems": []}

    def answer(self, verb: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing: nobody clicks in a picture."""
        raise NotImplementedError(f"{verb} {fields}")


class PicturedAgent:
    """The agent's place: a real board whose clock is set, and whatever else a picture shows."""

    def __init__(self, docker: DockerStatus, cluster: ClusterStatus) -> None:
        self.docker = docker
        self.cluster = cluster
        self.problems: tuple[Problem, ...] = ()
        self.snapshots = PicturedSnapshots()
        self._time = NOW
        self.board = StatusBoard(clock=lambda: self._time)

    def show(self, seconds: float, *stacks: StackStatus) -> None:
        """Have the stacks become so, that long before the picture."""
        self._time = NOW - seconds
        for stack in stacks:
            self.board.update_stack(stack)

    def tell(self, seconds: float, kind: str, message: str, stack: str = "") -> None:
        """Have something happen, that long before the picture."""
        self._time = NOW - seconds
        self.board.record_event(kind, message, stack)

    def status(self) -> AgentStatus:
        """What the picture shows."""
        return AgentStatus(
            AgentInfo("Running", "0.1.0", 4711, "/home/ada/hostk8s", ago(5 * 3600)),
            self.docker,
            self.cluster,
            WatchStatus("inotify", ("/home/ada/hostk8s/software/stacks",), ago(9)),
            self.board.stacks(),
            self.problems,
            self.snapshots.status(),
        )

    @property
    def last_event_sequence(self) -> int:
        """The number of the newest event."""
        return self.board.last_sequence

    def events_after(self, sequence: int, timeout_seconds: float) -> tuple[Event, ...]:
        """The board's."""
        return self.board.events_after(sequence, timeout_seconds)

    def wait_for_change(self, revision: int, timeout_seconds: float) -> int:
        """The board's."""
        return self.board.wait_for_change(revision, timeout_seconds)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: what it shows, how large and in which colours, and what is done before it is taken."""

    name: str
    agent: PicturedAgent
    width: int = 1240
    height: int = 760
    scheme: str = "light"
    before: Callable[[Page], None] = lambda _page: None
    is_whole: bool = False


def main() -> int:
    """Take every picture, or those that are named; return 1 when one is too large for the repository."""
    FOLDER.mkdir(exist_ok=True)
    program = subprocess.run(
        [ROOT / "infra/testbed/testbed", "tool", "chromium"], capture_output=True, text=True, check=True
    ).stdout.strip()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        taken = [
            take(picture, browser) for picture in build_pictures() if not sys.argv[1:] or picture.name in sys.argv[1:]
        ]
        browser.close()
    for file in taken:
        sys.stderr.write(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes\n")
    return int(any(file.stat().st_size > MAX_BYTES for file in taken))


def take(picture: Picture, browser: Browser) -> Path:
    """Take one picture and return its file."""
    file = FOLDER / f"{picture.name}.png"
    size: Any = {"width": picture.width, "height": picture.height}
    with serving(picture.agent) as link:
        context = browser.new_context(viewport=size, color_scheme=cast("Any", picture.scheme), locale="en-GB")
        page = context.new_page()
        page.goto(link)
        page.locator("details.stack").first.wait_for()
        # The snapshots are asked for beside the status.
        page.locator("#snapshot-view > *").first.wait_for()
        picture.before(page)
        page.mouse.move(0, 0)
        page.screenshot(path=file, full_page=picture.is_whole)
        context.close()
    # A palette in place of full colour: a third of the bytes, and nobody sees a difference.
    subprocess.run(["pngquant", "--force", "--ext", ".png", "--strip", "--speed", "1", "64", file], check=True)
    return file


@contextmanager
def serving(agent: PicturedAgent) -> Iterator[str]:
    """Serve the page for as long as the block runs; give a link to it."""
    with tempfile.TemporaryDirectory() as folder:
        options = DashboardOptions(
            is_on=True, port=17818, serves_metrics=False, identity="hostk8s-12345678", folder=Path(folder)
        )
        made = cast("Any", agent)
        dashboard = Dashboard(options, lambda stopping: build_app(made, stopping, refuses_browsers=False))
        dashboard.start()
        yield dashboard.create_link()
        dashboard.stop()


def build_pictures() -> Sequence[Picture]:
    """Return all pictures."""

    def open_stack(name: str) -> Callable[[Page], None]:
        return lambda page: page.locator(f'details[data-stack="{name}"] > summary').click()

    def search(page: Page) -> None:
        page.locator("#filter").fill("team-09")

    return (
        Picture("light", build_good_agent(), before=open_stack("foundation/airflow")),
        Picture("dark", build_good_agent(), scheme="dark", before=open_stack("foundation/postgres")),
        Picture("narrow", build_good_agent(), 360, 740, before=open_stack("foundation/airflow"), is_whole=True),
        Picture("many", build_crowded_agent(), before=search),
        Picture("trouble", build_troubled_agent(), height=900),
    )


def build_good_agent() -> PicturedAgent:
    """Return an agent with all Ready."""
    agent = PicturedAgent(DOCKER, CLUSTER)
    agent.show(5 * 3600, *STACKS)
    agent.tell(7400, "drift", "put back: /mnt/pv/airflow/logs had the owner 0:0, not 50000:0", "foundation/airflow")
    agent.tell(1260, "cluster.state", "Connected")
    for stack in STACKS[:6]:
        for hours in (2, 8, 14, 20, 26, 50, 74, 98, 146, 194):
            agent.snapshots.add(stack, hours + len(stack.name) / 10)
    agent.snapshots.add(STACKS[0], 60, name="before the upgrade", pinned=True)
    agent.snapshots.add(STACKS[1], 1, "suspect", reason="3 % of what the one before held", bytes=276 * MIB)
    for hours in (50, 98, 146):
        agent.snapshots.add(STACKS[7], hours)
    agent.tell(95, "applied", "hostk8s-web-shop-uploads-pv: 20Gi in place of 10Gi", "web/shop")
    return agent


def build_crowded_agent() -> PicturedAgent:
    """Return an agent with a thousand stacks, a few of them in trouble."""
    agent = PicturedAgent(DOCKER, CLUSTER)
    for number in range(1000):
        name = f"team-{number % 30:02}/service-{number:03}"
        stack = build_stack(name, Shown("data", "1000:1000", "755", 2 * GIB, (number * 7919 * 65537) % (2 * GIB)))
        if number % 499 == 0:
            message = f"the path /mnt/pv/shared is declared by team-09/service-{(number + 9) % 1000:03}, too"
            problem = replace(CONFLICT, message=message, file=stack.file)
            stack = replace(stack, state="Blocked", message=message, problems=(problem,))
        agent.show(5 * 3600, stack)
    agent.tell(1260, "cluster.state", "Connected")
    return agent


def build_troubled_agent() -> PicturedAgent:
    """Return an agent whose cluster is away, with a mistake in one contract and a conflict in another."""
    agent = build_good_agent()
    away = "the API server at https://127.0.0.1:6443 does not answer: connection refused"
    agent.cluster = replace(CLUSTER, state="Unreachable", message=away)
    agent.problems = (Problem("ClusterUnreachable", away, "start the cluster: make start; the agent waits"),)
    shop = next(stack for stack in STACKS if stack.name == "web/shop")
    first, *others = shop.directories
    parts = (replace(first, state="Blocked", message=CONFLICT.message), *others)
    blocked = replace(shop, state="Blocked", message=CONFLICT.message, directories=parts, problems=(CONFLICT,))
    grafana = next(stack for stack in STACKS if stack.name == "monitoring/grafana")
    mistake = Problem(
        "QuantityInvalid",
        "'5gb' is not a Kubernetes quantity",
        "write a number and a unit: Ki, Mi, Gi, Ti (powers of 1024) or k, M, G, T (powers of 1000)",
        grafana.file,
        9,
        13,
    )
    message = f"{mistake.message}; the last good version stays in force"
    agent.show(80, blocked)
    agent.show(64, replace(grafana, state="Invalid", message=message, problems=(mistake,)))
    agent.tell(31, "cluster.state", "Unreachable")
    agent.show(30, *(stack.as_unseen(away) for stack in STACKS if stack.name.startswith("foundation/")))
    return agent


def build_stack(name: str, *shown: Shown) -> StackStatus:
    """Return a Ready stack with these directories."""
    folded = name.replace("/", "-")
    claimed = sum(one.is_claimed for one in shown)
    base = name.rpartition("/")[2]
    return StackStatus(
        name,
        f"software/stacks/{name}/hostk8s.storage.yaml",
        "Ready",
        f"{count(len(shown), 'director', 'ies', 'y')}, {count(len(shown), 'volume', 's')}, {claimed} bound",
        ago(120 + len(name) * 7),
        tuple(
            DirectoryStatus(
                one.name,
                f"/mnt/pv/{base}/{one.name}",
                one.owner,
                one.permissions,
                "Ready",
                "",
                one.declared,
                one.used,
                ago(300),
            )
            for one in shown
        ),
        tuple(
            VolumeStatus(
                f"hostk8s-{folded}-{one.name}-pv",
                one.name,
                "Bound" if one.is_claimed else "Available",
                f"{base}-storage",
                f"{one.declared // GIB}Gi",
                f"{base}/{base}-{one.name}" if one.is_claimed else "",
                "Ready",
            )
            for one in shown
        ),
    )


def count(number: int, noun: str, plural: str, singular: str = "") -> str:
    """A number with its noun."""
    return f"{number} {noun}{singular if number == 1 else plural}"


def ago(seconds: float) -> str:
    """A time before the picture."""
    return render_time(NOW - seconds)


DOCKER = DockerStatus("Connected", "unix:///var/run/docker.sock", "hostk8s-pv-data", "helper-container")
CLUSTER = ClusterStatus("Connected", "kind-hostk8s", "https://127.0.0.1:6443", "0f6f4c6e", "v1.33.1")
CONFLICT = Problem(
    "PathConflict",
    "the path /mnt/pv/shop/uploads is foundation/registry's, which has it since before",
    "choose another path in one of the two contracts",
    "software/stacks/web/shop/hostk8s.storage.yaml",
    8,
    13,
)
STACKS = (
    build_stack(
        "foundation/airflow",
        Shown("dags", "50000:0", "775", GIB, 212 * MIB),
        Shown("logs", "50000:0", "775", 5 * GIB, 4 * GIB + 800 * MIB),
        Shown("plugins", "50000:0", "755", GIB, 0, is_claimed=False),
    ),
    build_stack(
        "foundation/postgres",
        Shown("primary", "70:70", "700", 10 * GIB, 3 * GIB),
        Shown("dumps", "1000:1000", "755", 20 * GIB, 6 * GIB),
    ),
    build_stack("foundation/redis", Shown("data", "999:999", "750", 2 * GIB, 310 * MIB)),
    build_stack("foundation/registry", Shown("images", "0:0", "755", 50 * GIB, 31 * GIB)),
    build_stack("monitoring/grafana", Shown("data", "472:0", "755", 5 * GIB, 90 * MIB)),
    build_stack("monitoring/prometheus", Shown("tsdb", "65534:65534", "755", 20 * GIB, 11 * GIB)),
    build_stack("sample", Shown("data", "1000:1000", "755", GIB, 12 * MIB)),
    build_stack(
        "web/shop",
        Shown("uploads", "33:33", "750", 20 * GIB, 4 * GIB),
        Shown("cache", "33:33", "750", 2 * GIB, 700 * MIB),
    ),
)

if __name__ == "__main__":
    sys.exit(main())
