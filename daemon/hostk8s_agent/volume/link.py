"""One connection made: an engine, the volume, a way in, and the checks that tell when it is lost."""

from __future__ import annotations

from contextlib import suppress
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
from hostk8s_agent.volume.reference import VolumeReference
from hostk8s_agent.volume.tools import find_node_image

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
                hint="see what to do: hostk8s-agent status",
            )
        if (found.volume_id, found.mountpoint) != (self.volume.volume_id, self.volume.mountpoint):
            raise VolumeGoneError(
                f"the Docker volume {name} was removed and made again while the agent used it",
                hint="see what to do: hostk8s-agent status",
            )
