"""What each directory claims, and a tree of the claimed places that finds neighbours without comparing all."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostk8s_agent.contract.model import Contract


class Contested(StrEnum):
    """What kind of thing two stacks can both claim."""

    PATH = "path"
    PERSISTENT_VOLUME_NAME = "persistent volume name"


@dataclass(frozen=True, slots=True)
class Claim:
    """One directory's claim: a path, or the name of a PersistentVolume.

    `key` is that path or that name (a path starts with a slash, a name never does), and `file` with `line`
    and `column` is where the contract makes the claim.
    """

    kind: Contested
    key: str
    stack: str
    directory: str
    file: str
    line: int
    column: int


@dataclass(slots=True)
class Place:
    """One path, or one PersistentVolume's name: who claims it, by stack, and the places below it."""

    key: str
    claims: dict[str, Claim] = field(default_factory=dict)
    below: dict[str, Place] = field(default_factory=dict)


class ClaimTree:
    """The claimed places of all stacks: a tree of path components, and the names beside each other."""

    def __init__(self) -> None:
        self._root = Place("")

    def add(self, claim: Claim) -> None:
        """Put a claim in its place, instead of the same stack's earlier one."""
        place = self._root
        components = _components_of(claim.key)
        for depth, component in enumerate(components, start=1):
            place = place.below.get(component) or place.below.setdefault(component, Place("/".join(components[:depth])))
        place.claims[claim.stack] = claim

    def remove(self, claim: Claim) -> None:
        """Take a claim out, and with it the places that are there for nobody else."""
        components = _components_of(claim.key)
        way = [self._root]
        for component in components:
            way.append(way[-1].below[component])
        del way[-1].claims[claim.stack]
        for parent, component in zip(reversed(way[:-1]), reversed(components), strict=True):
            place = parent.below[component]
            if place.claims or place.below:
                break
            del parent.below[component]

    def find(self, key: str) -> dict[str, Claim]:
        """Return the claims to exactly this key, by stack; empty if there are none."""
        *_, place = self._way_to(key)
        return {} if place is None else place.claims

    def find_contesting(self, key: str) -> Iterator[tuple[str, dict[str, Claim]]]:
        """Yield the key and the claims, by stack, of each claimed place at a key, above it and below it.

        Two claims contest each other exactly if each is among these for the other's key. This costs the
        depth of the path and the number of places below it, however many others there are.
        """
        *above, place = self._way_to(key)
        for each in above:
            if each is not None and each.claims:
                yield each.key, each.claims
        waiting = [] if place is None else [place]
        while waiting:
            each = waiting.pop()
            if each.claims:
                yield each.key, each.claims
            waiting.extend(each.below.values())

    def _way_to(self, key: str) -> Iterator[Place | None]:
        """Yield each place on the way to a key, and None for those that are not there."""
        place: Place | None = self._root
        for component in _components_of(key):
            place = None if place is None else place.below.get(component)
            yield place


def claims_of(contract: Contract) -> tuple[Claim, ...]:
    """Return what a contract claims: of each directory its path, and its PersistentVolume's name."""
    claims = []
    for directory in contract.directories:
        name, path = contract.persistent_volume_name_of(directory), directory.path
        for kind, key, at in (
            (Contested.PATH, path, directory.path_position),
            (Contested.PERSISTENT_VOLUME_NAME, name, directory.position),
        ):
            claims.append(Claim(kind, key, contract.stack, directory.name, contract.file, at.line, at.column))
    return tuple(claims)


def _components_of(key: str) -> list[str]:
    # A path starts with a slash, so its first component is empty, and no name can be mistaken for it.
    return key.split("/")
