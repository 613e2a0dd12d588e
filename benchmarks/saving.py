"""One save, from the rename to the moment when StorageClass, PersistentVolume and directory are all there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from figures import Samples, render_milliseconds
from workload import Edition, is_directory_right

if TYPE_CHECKING:
    from pathlib import Path

    from trial import Site

SAVE_SECONDS = 30.0
# Fine enough for a figure of some ten milliseconds; a loop without a pause would take a processor from the agent.
LOOK_SECONDS = 0.0002
# The agent writes its records half a second after a save: no rival's turn may pay for it.
REST_SECONDS = 0.8


@dataclass(frozen=True, slots=True)
class SaveTiming:
    """Milliseconds from the rename to each of the three; `whole` is the last of them."""

    directory: float
    storage_class: float
    persistent_volume: float

    @property
    def whole(self) -> float:
        """When all three were there."""
        return max(self.directory, self.storage_class, self.persistent_volume)


def measure_save(site: Site, edition: Edition) -> SaveTiming:
    """Save the edition over the earlier one, as an editor does, and watch for what it asks for."""
    beside, file = site.checkout.prepare_save(edition)
    place = site.volume.place_of(edition)
    site.observer.expect(edition.object_names)
    started = time.perf_counter()
    beside.rename(file)
    try:
        directory_at = _wait_for_directory(place, started + SAVE_SECONDS)
        seen_at = site.observer.wait(SAVE_SECONDS)
    except TimeoutError as error:
        raise RuntimeError(f"{error}; the agent's log ends with\n{site.agent.read_log_end()}") from error
    return SaveTiming(
        directory=(directory_at - started) * 1000,
        storage_class=(seen_at[f"StorageClass/{edition.storage_class}"] - started) * 1000,
        persistent_volume=(seen_at[f"PersistentVolume/{edition.persistent_volume}"] - started) * 1000,
    )


def _wait_for_directory(place: Path, deadline: float) -> float:
    """Return when the directory was there as declared. Raises `TimeoutError` at the deadline."""
    while not is_directory_right(place):
        if time.perf_counter() > deadline:
            raise TimeoutError(f"the directory {place.name} did not come")
        time.sleep(LOOK_SECONDS)
    return time.perf_counter()


@dataclass(slots=True)
class SaveSamples:
    """The timings of all rounds."""

    whole: Samples
    directory: Samples
    storage_class: Samples
    persistent_volume: Samples

    @classmethod
    def begin(cls) -> SaveSamples:
        """Without any round yet."""
        return cls(Samples(), Samples(), Samples(), Samples())

    def add(self, timing: SaveTiming) -> None:
        """Take one more round."""
        self.whole.add(timing.whole)
        self.directory.add(timing.directory)
        self.storage_class.add(timing.storage_class)
        self.persistent_volume.add(timing.persistent_volume)

    def describe(self, reconcile_milliseconds: list[float]) -> tuple[str, ...]:
        """Where the time goes: what was there when, and how much of it the agent's own run took."""
        each = {
            "the directory": self.directory,
            "the StorageClass": self.storage_class,
            "the PersistentVolume": self.persistent_volume,
        }
        there = ", ".join(f"{name} {render_milliseconds(samples.median)}" for name, samples in each.items())
        runs = Samples(reconcile_milliseconds)
        return (
            f"after the rename (medians): {there}",
            f"the agent's run, from the read contract to the second look, by its own log: {runs}",
        )


def time_milliseconds(started: float) -> float:
    """Milliseconds since `started`, of `time.perf_counter`."""
    return (time.perf_counter() - started) * 1000
