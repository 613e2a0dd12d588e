"""The folder in which inline certificates and keys stand while they are loaded."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_scratch_folder(folder: Path) -> None:
    """Make the folder for key material, for its owner alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)


def clear_scratch_folder(folder: Path) -> None:
    """Remove the files in the folder: ours, or what a killed predecessor left there."""
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            with contextlib.suppress(OSError):
                file.unlink()
