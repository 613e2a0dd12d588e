"""One connection made: an engine, the volume, a way in, and the checks that tell when it is lost."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from hostk8s_agent.volume.choosing import AccessRequest, DockerAccess, open_access
from hostk8s_agent.volume.direct import DirectAccess
from hostk8s_agent.volume.engine import Engine, EngineIdentity, EngineVolume
from hostk8s_agent.volume.errors import EngineChangedError, VolumeGoneError
from hostk8s_agent.volume.helper_container import HelperContainerAccess
from hostk8s_agent.volume.helper_life import HelperPlace
from hostk8s_agent.volume.nodes import ClusterNodes

if TYPE_CHECKING:
    import socket

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
        self._tripwire: socket.socket | None = None
        self.nodes = ClusterNodes(self._engine, options.cluster_name)
        self.access: DockerAccess | None = None
        try:
            # Before the questions, so that an engine that is replaced in between trips it.
            self._tripwire = self._engine.open_tripwire()
            self.identity: EngineIdentity = self._engine.identify()
            self._pinned_id = pinned_id or self.identity.engine_id
            self._require_pinned(self.identity)
            self.volume: EngineVolume = self._engine.require_volume(
                options.volume_name, may_create=options.may_create_volume
            )
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
        except BaseException:
            self.abandon()
            raise

    @property
    def tripwire(self) -> socket.socket | None:
        """A socket that becomes readable when the engine goes away; None once it has."""
        return self._tripwire

    def check(self, *, identifies: bool) -> None:
        """Raise when the engine does not answer, or the volume is another one (about 1 ms; 10 ms more to identify)."""
        if identifies or self._has_tripped():
            # The engine, or what forwards to it, has closed an idle connection: perhaps another one is there now.
            self._reopen_tripwire()
            self._require_pinned(self._engine.identify())
        self._require_volume()
        if isinstance(self.access, DirectAccess):
            self.access.verify_root()

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

    def _has_tripped(self) -> bool:
        if self._tripwire is None:
            return True
        self._tripwire.settimeout(0)
        with suppress(BlockingIOError):
            # Nothing is ever asked on it: whatever arrives, the end included, is a sign.
            self._tripwire.recv(1)
            return True
        return False

    def _reopen_tripwire(self) -> None:
        self._close_tripwire()
        self._tripwire = self._engine.open_tripwire()

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
            raise VolumeGoneError(
                f"the Docker volume {name} was removed while the agent used it",
                hint="if that was not meant, restore its directories from a snapshot",
            )
        if (found.volume_id, found.mountpoint) != (self.volume.volume_id, self.volume.mountpoint):
            raise VolumeGoneError(
                f"the Docker volume {name} was removed and made again while the agent used it",
                hint="if that was not meant, restore its directories from a snapshot",
            )
