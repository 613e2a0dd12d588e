"""One connection made: an engine, the volume, a way in, and the checks that tell when it is lost."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.volume.choosing import AccessRequest, DockerAccess, open_access
from hostk8s_agent.volume.direct import DirectAccess
from hostk8s_agent.volume.engine import Engine, EngineIdentity, EngineVolume
from hostk8s_agent.volume.errors import EngineChangedError, VolumeGoneError
from hostk8s_agent.volume.helper_container import HelperContainerAccess
from hostk8s_agent.volume.helper_life import HelperPlace
from hostk8s_agent.volume.nodes import ClusterNodes
from hostk8s_agent.volume.recognising import RememberedVolume, build_lost_error, recognise
from hostk8s_agent.volume.reference import VolumeReference, reference_name
from hostk8s_agent.volume.tools import find_node_image
from hostk8s_agent.volume.tripwire import Tripwire

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from hostk8s_agent.volume.endpoint import DockerEndpoint
    from hostk8s_agent.volume.state import VolumeOptions
    from hostk8s_agent.volume.tree_access import ReportLoss


class DockerLink:
    """A live connection. Opening it raises a `VolumeError`; close it in any case.

    `pinned_id` is the engine's ID of an earlier connection, empty for the first one: another engine is refused
    before anything is asked of it.
    """

    def __init__(
        self, endpoint: DockerEndpoint, options: VolumeOptions, *, pinned_id: str, report_loss: ReportLoss
    ) -> None:
        self._options = options
        self._engine = Engine(endpoint)
        self._tripwire: Tripwire | None = None
        self._is_told = True
        self.nodes = ClusterNodes(self._engine, options.cluster_name)
        self.access: DockerAccess | None = None
        try:
            # Before the questions, so that an engine that is replaced in between trips it.
            self._tripwire = Tripwire(endpoint)
            self.identity: EngineIdentity = self._engine.identify()
            self._pinned_id = pinned_id or self.identity.engine_id
            self._require_pinned(self.identity)
            self._subscribe(self._tripwire)
            self.volume: EngineVolume = self._find_or_create_volume()
            request = AccessRequest(
                place=HelperPlace(options.workspace, options.volume_name),
                cluster_name=options.cluster_name,
                identity=self.identity,
                volume=self.volume,
                forced=options.forced_access,
                require_same_volume=self.require_same_volume,
                report_loss=report_loss,
            )
            self.access = open_access(self._engine, request)
            self.remembered: RememberedVolume = recognise(
                self.access, self._describe_volume(), options.remembered, may_write=options.may_create_volume
            )
            if options.ledger is not None:
                options.ledger.begin(self.access)
            self._reference = self._open_reference()
        except BaseException:
            self.abandon()
            raise

    @property
    def tripwire(self) -> socket.socket | None:
        """A socket that becomes readable when the engine goes away, or tells something; None once it has gone."""
        return None if self._tripwire is None else self._tripwire.socket

    def wait_for_news(self, wait: Callable[[socket.socket | None, float], bool], seconds: float) -> None:
        """Return when the engine has gone or told of the removal of something of ours, or the time is over.

        `wait` waits for a socket and a time; it returns True when someone wants a check at once.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if wait(self.tripwire, left) or self._tripwire is None or self._tripwire.has_news():
                return

    def check(self, *, identifies: bool) -> None:
        """Raise when the engine does not answer, or the volume is another one (about 1 ms; 10 ms more to identify)."""
        is_cut = self._look_at_news()
        if identifies or is_cut:
            # The engine, or what forwards to it, has closed the connection: perhaps another one is there now.
            tripwire = self._reopen_tripwire()
            self._require_pinned(self._engine.identify())
            self._subscribe(tripwire)
        self._require_volume()
        if isinstance(self.access, DirectAccess):
            self.access.verify_root()
        if self._reference is not None:
            self._reference.ensure(improves=identifies)
        if self._options.ledger is not None and self.access is not None:
            self._options.ledger.turn(self.access)

    def require_same_volume(self) -> None:
        """Raise unless the pinned engine answers and has the volume that it had."""
        self._require_pinned(self._engine.identify())
        self._require_volume()

    def close(self) -> None:
        """Give the connection up and leave nothing behind in the engine."""
        if self.access is not None:
            self.access.close()
        self.abandon()

    def abandon(self) -> None:
        """Give a lost connection up without asking the engine anything."""
        if isinstance(self.access, HelperContainerAccess):
            self.access.abandon()
        elif self.access is not None:
            self.access.close()
        self._close_tripwire()
        self._engine.close()

    def _find_or_create_volume(self) -> EngineVolume:
        name, remembered = self._options.volume_name, self._options.remembered
        if remembered is None:
            return self._engine.require_volume(name, may_create=self._options.may_create_volume)
        if (found := self._engine.find_volume(name)) is not None:
            return found
        raise build_lost_error(name, "there is none of its name", self.identity.engine_id, remembered)

    def _describe_volume(self) -> RememberedVolume:
        """What the engine says of the volume now."""
        volume = self.volume
        inode = Path(volume.mountpoint).stat().st_ino if isinstance(self.access, DirectAccess) else 0
        return RememberedVolume(
            name=volume.name,
            marker="",
            engine_id=self.identity.engine_id,
            volume_id=volume.volume_id,
            created_at=volume.created_at,
            mountpoint=volume.mountpoint,
            root_inode=inode,
        )

    def _open_reference(self) -> VolumeReference | None:
        if not (self._options.keeps_volume and self._options.may_create_volume):
            return None
        reference = VolumeReference(
            self._engine,
            self.volume.name,
            find_image=lambda: find_node_image(self._engine, self._options.cluster_name),
            require_same_volume=self.require_same_volume,
        )
        reference.ensure(improves=True)
        return reference

    def _look_at_news(self) -> bool:
        """Return whether the engine has gone. Raises `VolumeGoneError` when it has told of the volume's removal."""
        if self._tripwire is None:
            return True
        self._tripwire.has_news()
        if "volume" in self._tripwire.take_removed():
            # Whatever has its name by now, made in the same second perhaps: its ID in a file alone can prove that it is
            # the same, as that of a copy does.
            self.remembered = replace(self.remembered, volume_id="", created_at="")
            raise build_gone_error(self._options.volume_name, "was removed")
        return self._tripwire.is_cut

    def _subscribe(self, tripwire: Tripwire) -> None:
        """Have removals told. Only now: another engine than the pinned one is asked nothing."""
        if self._is_told:
            name = self._options.volume_name
            tripwire.subscribe(self._engine.client.api_version, name, reference_name(name))

    def _reopen_tripwire(self) -> Tripwire:
        if self._tripwire is not None:
            # Who answers otherwise, and hangs up, would do so each time.
            self._is_told = self._is_told and (self._tripwire.is_told or not self._tripwire.is_cut)
        self._close_tripwire()
        self._tripwire = Tripwire(self._engine.endpoint)
        return self._tripwire

    def _close_tripwire(self) -> None:
        if self._tripwire is not None:
            self._tripwire.close()
            self._tripwire = None

    def _require_pinned(self, identity: EngineIdentity) -> None:
        if identity.engine_id != self._pinned_id:
            raise EngineChangedError(
                f"another Docker engine ({identity.engine_id or 'without an ID'}) answers at "
                f"{self._engine.endpoint.url} than the one that the agent began with ({self._pinned_id})",
                hint="if that is meant, restart the agent; else bring the former engine back",
            )

    def _require_volume(self) -> None:
        name = self._options.volume_name
        found = self._engine.find_volume(name)
        if found is None:
            raise build_gone_error(name, "was removed")
        if (found.volume_id, found.mountpoint) != (self.volume.volume_id, self.volume.mountpoint):
            raise build_gone_error(name, "was removed and made again")


def build_gone_error(volume: str, what: str) -> VolumeGoneError:
    """Return the error for a volume that went away; `what` says how."""
    return VolumeGoneError(
        f"the Docker volume {volume} {what} while the agent used it", hint="see what to do: hostk8s-agent status"
    )
