"""Whether now is a good moment for work that can wait: the battery, the disk, and how much it may disturb others."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

BATTERY_LOW: Final = "the battery is at"
"""How the words of the one obstacle begin that is no failure."""

_POWER_SUPPLIES: Final = Path("/sys/class/power_supply")
_PMSET: Final = "/usr/bin/pmset"
_IONICE: Final = "/usr/bin/ionice"
_NICENESS: Final = 10
_LOOK_SECONDS: Final = 5.0


def find_obstacle(repository: Path, *, min_battery_percent: int, min_free_percent: int) -> str:
    """Return in words why scheduled work should wait, empty when nothing is in its way."""
    charge = read_battery_percent()
    if charge is not None and charge < min_battery_percent:
        return f"{BATTERY_LOW} {charge} % and not charging (setting snapshot_min_battery_percent)"
    free = read_free_percent(repository)
    if free is not None and free < min_free_percent:
        return f"the repository's disk has {free:.1f} % left (setting snapshot_min_free_percent)"
    return ""


def read_battery_percent(supplies: Path = _POWER_SUPPLIES) -> int | None:
    """Return the charge of the machine's battery while it discharges; None on mains, or without a battery."""
    if sys.platform == "darwin":
        return _ask_pmset()
    lowest: int | None = None
    with suppress(OSError):
        for supply in supplies.iterdir():
            # A mouse has a battery as well (sysfs-class-power: scope).
            is_battery = _read(supply / "type") == "Battery" and _read(supply / "scope") != "Device"
            charge = _read(supply / "capacity")
            if is_battery and _read(supply / "status") == "Discharging" and charge.isdecimal():
                lowest = int(charge) if lowest is None else min(lowest, int(charge))
    return lowest


def read_free_percent(folder: Path) -> float | None:
    """Return how much of the disk is free on which the folder is, or will be; None when that is not known."""
    for existing in (folder, *folder.parents):
        with suppress(OSError):
            usage = shutil.disk_usage(existing)
            return usage.free / usage.total * 100 if usage.total else None
    return None


def give_way() -> None:
    """Let everything else go first on the processor and the disk: the calling thread, and what it starts."""
    if not sys.platform.startswith("linux"):
        return
    # Linux has priorities of threads (setpriority(2), ioprio_set(2)), other systems of whole processes.
    thread = threading.get_native_id()
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, _NICENESS)
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(  # noqa: S603 - a constant program with a number
            [_IONICE, "-c", "2", "-n", "7", "-p", str(thread)], check=False, capture_output=True, timeout=_LOOK_SECONDS
        )


def _ask_pmset() -> int | None:
    with suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run(  # noqa: S603 - a constant command
            [_PMSET, "-g", "batt"], check=False, capture_output=True, text=True, timeout=_LOOK_SECONDS
        )
        found = re.search(r"(\d{1,3})%; discharging", asked.stdout)
        return int(found[1]) if found else None
    return None


def _read(file: Path) -> str:
    with suppress(OSError):
        return file.read_text(encoding="utf-8", errors="replace").strip()
    return ""
