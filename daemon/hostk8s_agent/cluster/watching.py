"""Keeping the mirror of one resource true: list, watch from there, list again when that is not enough.

The constants and the order of things are those of client-go's reflector (tools/cache/reflector.go), but for the
length of a watch.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.cluster.errors import ClusterAnswerError, ClusterUnreachableError, ResourceExpiredError
from hostk8s_agent.cluster.objects import describe_malformed, parse_claim, parse_object
from hostk8s_agent.cluster.requests import ClusterClient, Request
from hostk8s_agent.cluster.statuses import error_from_status
from hostk8s_agent.errors import ClusterError
from hostk8s_agent.pacing import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.cluster.mirror import ClaimEntry, ClaimKey, Mirror
    from hostk8s_agent.cluster.resources import Resource
    from hostk8s_agent.cluster.state import ConnectionTiming
    from hostk8s_agent.plan.desired import ObjectKey
    from hostk8s_agent.plan.observed import ObservedObject

log = structlog.get_logger()

OBJECT_MALFORMED = "cluster.object_malformed"
RELISTED = "cluster.relisted"
WATCH_CRASHED = "cluster.watch_crashed"

# A watch that ends sooner than this was not one: the server, or something before it, hangs up.
_SHORTEST_WATCH_SECONDS = 1.0


class ResourceWatcher:
    """List and watch one resource into the mirror, in a thread of its own once `start` is called.

    What it can mend itself (a watch that ended, was cut, or expired) it mends, with a back-off. Any other failure is
    reported once to `on_failure`, and the thread ends: whoever supervises the connection decides.
    `on_doubt` is called when a watch broke: the connection should be looked at now.
    """

    def __init__(
        self,
        resource: Resource,
        client: ClusterClient,
        mirror: Mirror,
        timing: ConnectionTiming,
        on_object: Callable[[ObjectKey], None],
    ) -> None:
        self.resource = resource
        self._client = client
        self._mirror = mirror
        self._timing = timing
        self._on_object = on_object
        self._backoff = Backoff(timing.backoff_first)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._version = ""
        self._listed_at = 0.0
        self._heard_at = 0.0
        self._malformed: set[str] = set()

    @property
    def heard_at(self) -> float:
        """When the server last said something about this resource, on the monotonic clock."""
        return self._heard_at

    @property
    def version(self) -> str:
        """The resource version up to which the mirror is true."""
        return self._version

    def list_now(self) -> set[ObjectKey]:
        """List everything into the mirror; return the keys that someone should be told of. Raises a `ClusterError`."""
        started = time.monotonic()
        self._mirror.begin_list(self.resource.kind)
        items, version = self._client.list_all(self.resource)
        changed = self._replace(items, version)
        self._version = version
        self._listed_at = self._heard_at = started
        return changed

    def check_list(self, client: ClusterClient) -> None:
        """Find out with one small request whether the server lets us list. Raises a `ClusterError`."""
        client.send(Request("list", self.resource.path, f"list {self.resource.kind} objects", {"limit": 1}))

    def check_watch(self, client: ClusterClient) -> None:
        """Find out with one small request whether the server lets us watch. Raises a `ClusterError`."""
        with client.open_watch(self.resource, self._version, 1, self._timing.read_timeout):
            pass

    def start(self, on_failure: Callable[[ResourceWatcher, ClusterError], None], on_doubt: Callable[[], None]) -> None:
        """Watch from the version that was listed, in a new thread."""
        name = f"cluster-watch-{self.resource.kind}"
        self._thread = threading.Thread(target=self._run, args=(on_failure, on_doubt), name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end. It does once its client is closed."""
        self._stopping.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the thread to end."""
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _run(self, on_failure: Callable[[ResourceWatcher, ClusterError], None], on_doubt: Callable[[], None]) -> None:
        try:
            self._follow(on_doubt)
        except ClusterError as error:
            if not self._stopping.is_set():
                on_failure(self, error)
        except Exception:
            if self._stopping.is_set():
                return
            log.exception(WATCH_CRASHED, kind=self.resource.kind)
            on_failure(
                self,
                ClusterAnswerError(
                    f"watching {self.resource.kind} objects failed unexpectedly",
                    hint="look at the log; the agent connects again by itself",
                ),
            )

    def _follow(self, on_doubt: Callable[[], None]) -> None:
        broken = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            pause = 0.0
            try:
                heard_anything = self._watch_once()
            except ResourceExpiredError:
                # At once the first time; a server that goes on saying so is asked ever less often.
                self._pause(self._backoff.next_seconds() if self._backoff.failures else 0.0)
                self._backoff.failures += 1
                self._list_again()
                continue
            except ClusterUnreachableError:
                broken += 1
                on_doubt()
                if broken > 1 or self._stopping.is_set():
                    raise
                pause = self._backoff.next_seconds()
            else:
                lasted = time.monotonic() - started
                if heard_anything or lasted >= _SHORTEST_WATCH_SECONDS:
                    broken = 0
                if lasted >= _SHORTEST_WATCH_SECONDS:
                    self._backoff.reset()
                else:
                    pause = self._backoff.next_seconds()
            self._pause(pause)
            if time.monotonic() - self._listed_at > self._timing.relist:
                self._list_again()

    def _list_again(self) -> None:
        if not self._stopping.is_set():
            self._tell(self.list_now())
            log.debug(RELISTED, kind=self.resource.kind)

    def _pause(self, seconds: float) -> None:
        if seconds:
            self._stopping.wait(seconds)

    def _watch_once(self) -> bool:
        """Watch until the server ends it; return whether anything came. Raises a `ClusterError`."""
        seconds = random.randint(self._timing.watch_shortest, self._timing.watch_longest)  # noqa: S311 - to spread
        heard = False
        with self._client.open_watch(
            self.resource, self._version, seconds, seconds + self._timing.watch_patience
        ) as events:
            self._heard_at = time.monotonic()
            for event in events:
                heard = True
                self._take_in(event["type"], event.get("object"))
                self._heard_at = time.monotonic()
        self._heard_at = time.monotonic()
        return heard

    def _take_in(self, kind: str, raw: object) -> None:
        if kind == "ERROR":
            status = raw if isinstance(raw, dict) else {}
            code = status.get("code")
            raise error_from_status(code if isinstance(code, int) else 0, status, f"watch {self.resource.kind} objects")
        if kind in ("ADDED", "MODIFIED", "DELETED"):
            try:
                told = self._observe(raw, is_deleted=kind == "DELETED")
            except ClusterAnswerError as error:
                self._report_malformed(raw, error)
                told = set()
            self._tell(told)
        metadata = raw.get("metadata") if isinstance(raw, dict) else None
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        if isinstance(version, str) and version:
            self._version = version

    def _observe(self, raw: object, *, is_deleted: bool) -> set[ObjectKey]:
        if self.resource.kind == "PersistentVolumeClaim":
            claim, version = parse_claim(self.resource, raw)
            entry = None if is_deleted else (claim, version)
            return self._mirror.observe_claim((claim.namespace, claim.name), entry)
        return self._mirror.observe_object(parse_object(self.resource, raw), is_deleted=is_deleted)

    def _replace(self, items: list[object], version: str) -> set[ObjectKey]:
        if self.resource.kind == "PersistentVolumeClaim":
            claims: dict[ClaimKey, ClaimEntry] = {}
            for raw in items:
                try:
                    claim, its_version = parse_claim(self.resource, raw)
                except ClusterAnswerError as error:
                    self._report_malformed(raw, error)
                else:
                    claims[claim.namespace, claim.name] = (claim, its_version)
            return self._mirror.replace_claims(claims)
        objects: dict[ObjectKey, ObservedObject] = {}
        for raw in items:
            try:
                found = parse_object(self.resource, raw)
            except ClusterAnswerError as error:
                self._report_malformed(raw, error)
            else:
                objects[found.key] = found
        return self._mirror.replace_objects(self.resource.kind, objects, version)

    def _report_malformed(self, raw: object, error: ClusterAnswerError) -> None:
        # Once for each object: a malformed one comes back with every list.
        subject = describe_malformed(self.resource, raw)
        if subject not in self._malformed:
            self._malformed.add(subject)
            log.warning(OBJECT_MALFORMED, object=subject, reason=error.message)

    def _tell(self, keys: set[ObjectKey]) -> None:
        for key in sorted(keys):
            self._on_object(key)
