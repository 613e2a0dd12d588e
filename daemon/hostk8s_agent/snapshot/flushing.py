"""Making durable what is being written, while it is written: the disk works all along, and little is left to do."""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.errors import RestoreFailedError
from hostk8s_agent.volume.tree_access import TreeAccess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostk8s_agent.volume.access import VolumeAccess

_INTERVAL_SECONDS: Final = 1.0


@contextmanager
def kept_durable(access: VolumeAccess, path: str) -> Iterator[None]:
    """Have everything that the block writes in the file system of `path` on the disk when it ends (syncfs(2)).

    So that no power failure leaves a restored tree empty. Raises `RestoreFailedError` when the disk fails; through the
    helper container the engine alone could, and does not say. A block that raises leaves it to the kernel.
    """
    if not isinstance(access, TreeAccess):
        yield
        return
    with access.open_directory(path) as descriptor:
        flusher = _Flusher(descriptor)
        try:
            yield
        finally:
            flusher.stop()
        flusher.flush()
        flusher.require_success()


class _Flusher:
    """A thread that flushes now and then. The kernel tells a failure of the disk once: whoever hears it keeps it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._errno = 0
        self._stopping = threading.Event()
        self._sync = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        self._thread = threading.Thread(target=self._run, name="snapshot-flush", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a flush that is under way is waited for."""
        self._stopping.set()
        self._thread.join()

    def flush(self) -> None:
        """Flush what is not on the disk yet."""
        if self._sync is None:
            os.sync()
        elif self._sync(self._descriptor) != 0:
            self._errno = self._errno or ctypes.get_errno()

    def require_success(self) -> None:
        """Raise `RestoreFailedError` when any flush failed."""
        if self._errno:
            raise RestoreFailedError(
                f"the restored tree could not be written to the disk: {os.strerror(self._errno)}",
                hint="nothing was replaced; look at the disk of the volume",
            )

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_SECONDS):
            self.flush()
