"""One request about snapshots in a process of its own, so that its memory is its own: says what it took, as JSON.

    python snapshot_process.py VOLUME REPOSITORY create|restore DIRECTORY...

What is timed begins when the request does: in the agent no process is started for it.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.logs import configure_logging
from hostk8s_agent.snapshot.model import SnapshotState
from hostk8s_agent.snapshot.repository import Repository
from hostk8s_agent.snapshot.requests import CreateRequest, RestoreRequest, Surroundings, VolumeIdentity
from hostk8s_agent.snapshot.restoring import Replacement, Restorer
from hostk8s_agent.snapshot.service import SnapshotService
from hostk8s_agent.snapshot.taking import take_snapshot
from hostk8s_agent.snapshot.verifying import Verifier, find_verified
from hostk8s_agent.volume.direct import DirectAccess

HEAD = "apiVersion: hostk8s.io/v1\nkind: StorageContract\nmetadata: {name: bench}\nspec:\n  directories:\n"
ENTRY = (
    '    - {{name: {0}, path: /mnt/pv/{0}, size: 1Gi, accessModes: [ReadWriteOnce], storageClass: a, owner: "0:0"}}\n'
)


def main() -> None:
    """Do what the arguments say."""
    configure_logging("error", "json")
    volume, folder, verb = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    text = (HEAD + "".join(ENTRY.format(name) for name in sys.argv[4:])).encode()
    contract = parse_contract(text, file="bench", stack="bench")
    access = DirectAccess(volume)
    surroundings = Surroundings(lambda _: (contract, text), lambda: access, lambda: VolumeIdentity("bench"))
    repository = Repository(folder)
    seconds = _create(repository, surroundings) if verb == "create" else _restore(repository, surroundings)
    print(json.dumps({**seconds, "own_kib": _read_peak_kib()}))


def _read_peak_kib() -> int:
    """Return the most resident memory that this program has had (proc(5), VmHWM).

    Not getrusage's maximum: that one is kept over exec(2), and is whatever the parent had before it started us.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def _create(repository: Repository, surroundings: Surroundings) -> dict[str, float]:
    """What `SnapshotService.create` does, its two halves timed apart."""
    started = time.perf_counter()
    repository.prepare()
    repository.sweep()
    former, _ = repository.load_all()
    snapshot = take_snapshot(surroundings, repository, CreateRequest("bench"), former, datetime.now(UTC))
    repository.add(snapshot)
    taken = time.perf_counter()
    verification = Verifier(repository, lambda: datetime.now(UTC), verified=find_verified(former)).verify(snapshot)
    if verification.snapshot.state is not SnapshotState.GOOD:
        raise RuntimeError(verification.snapshot.marks.reason)
    return {"taken_ms": (taken - started) * 1000, "verified_ms": (time.perf_counter() - taken) * 1000}


def _restore(repository: Repository, surroundings: Surroundings) -> dict[str, float]:
    """What a restore does once the safety snapshot is taken: written, compared, made durable and put in place."""
    service = SnapshotService(repository, surroundings)
    plan = service.plan_restore(RestoreRequest("bench", "latest"))
    replacements = [Replacement(one.taken, one.target) for one in plan.replacements]
    started = time.perf_counter()
    restorer = Restorer(surroundings.volume(), repository)
    restorer.swap(restorer.stage("bench", replacements), replacements)
    return {"restored_ms": (time.perf_counter() - started) * 1000}


if __name__ == "__main__":
    main()
