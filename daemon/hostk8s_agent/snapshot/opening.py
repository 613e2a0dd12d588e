"""The repository as the settings have it: with the engine that new snapshots go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.snapshot.repository import Repository
from hostk8s_agent.snapshot.restic.engine import ResticEngine
from hostk8s_agent.snapshot.restic.environment import ResticPlace

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.settings import Settings


def open_repository(folder: Path, settings: Settings) -> Repository:
    """Return the repository in a folder. Nothing is read, made or started."""
    place = ResticPlace.of_settings(settings)
    return Repository(folder, engine=ResticEngine(folder, place) if place else None)
