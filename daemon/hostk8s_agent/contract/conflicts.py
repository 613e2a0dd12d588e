"""What two contracts may not both claim: a path (or one inside it), and a PersistentVolume's name.

Who keeps a contested claim: the stack that already holds it, else the first by name. A claim is blocked by
one that is kept, never by one that is itself blocked: so one bad contract blocks nobody but itself. Both
sides are told: the one that keeps the claim, and each that is blocked by it. Two that are blocked by the same
one are not told of each other, for neither can do anything about it.

StorageClasses are shared by name, and all their fields are fixed: they are no conflict.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

from hostk8s_agent.contract.claims import Claim, ClaimTree, Contested, claims_of
from hostk8s_agent.contract.rules import Code
from hostk8s_agent.contract.wording import quote
from hostk8s_agent.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hostk8s_agent.contract.model import Contract

# Whether nobody but others hold it, the stack, the key: the smaller is preferred.
_Rank: TypeAlias = tuple[bool, str, str]
_Ranks: TypeAlias = dict[str, _Rank]
_LOWEST: Final[_Rank] = (True, "\U0010ffff", "")


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two stacks that claim one thing, as one of the two is told of it.

    `own` is the claim of the stack that is told, and `other` that of the other stack. `is_blocked` says that
    the stack that is told loses: then its directory is not to be applied. `is_held` says that the winner
    keeps the claim because it holds it already, and not because of its name.
    """

    own: Claim
    other: Claim
    is_blocked: bool
    is_held: bool

    @property
    def directory(self) -> str:
        """The name of the directory, of the stack that is told, whose claim is contested."""
        return self.own.directory

    @property
    def kind(self) -> Contested:
        """What is contested."""
        return self.own.kind

    @property
    def other_stack(self) -> str:
        """The name of the other stack."""
        return self.other.stack

    @property
    def problem(self) -> Problem:
        """The conflict in words, at the place of the own claim."""
        is_path = self.kind is Contested.PATH
        code = Code.PATH_CONFLICT if is_path else Code.PERSISTENT_VOLUME_NAME_CONFLICT
        return Problem(code.value, self._message(), self._hint(), self.own.file, self.own.line, self.own.column)

    def _message(self) -> str:
        own, other = self.own, self.other
        claimant = f"directory {quote(other.directory)} of stack {quote(other.stack)} ({other.file}:{other.line})"
        if self.kind is Contested.PERSISTENT_VOLUME_NAME:
            what = f"directory {quote(own.directory)} gets the PersistentVolume {own.key}, and so does {claimant}"
        elif own.key == other.key:
            what = f"the path {quote(own.key)} is also claimed by {claimant}"
        else:
            lies = "lies inside" if len(own.key) > len(other.key) else "has inside it"
            what = f"the path {quote(own.key)} {lies} {quote(other.key)}, claimed by {claimant}"
        winner = other.stack if self.is_blocked else own.stack
        reason = "holds it already" if self.is_held else "comes first by name"
        return f"{what}; stack {quote(winner)} keeps it, because it {reason}"

    def _hint(self) -> str:
        loser = self.own if self.is_blocked else self.other
        what = "path" if self.kind is Contested.PATH else "name"
        return f"give directory {quote(loser.directory)} of stack {quote(loser.stack)} another {what}, or remove it"


class ClaimIndex:
    """All claims of all contracts, and who keeps each, brought up to date one contract at a time.

    An update costs what the one contract is long, and what changes hands by it; other stacks cost nothing.
    Contracts must be valid: within one of them no path lies in another. Not thread-safe: the caller holds a
    lock around each call.
    """

    def __init__(self, holders: Mapping[str, str] | None = None) -> None:
        """Take who holds what already: a path or a PersistentVolume's name, to the stack that was applied."""
        self._holders = dict(holders or {})
        self._tree = ClaimTree()
        self._claims_of: dict[str, tuple[Claim, ...]] = {}
        # For each key, the claim that is kept. Between changes each claim that is not in here contests one
        # that is, and no two in here contest each other.
        self._kept: dict[str, Claim] = {}
        # For each key, the claim of the best rank: only that one can be kept, since whatever blocks it blocks
        # all others to the same key.
        self._best: dict[str, Claim] = {}

    def update(self, contract: Contract) -> frozenset[str]:
        """Take a contract in, in place of the stack's earlier one.

        Return the other stacks whose conflicts may have changed by it, so that they are reconciled again.
        """
        return self._replace(contract.stack, claims_of(contract))

    def remove(self, stack: str) -> frozenset[str]:
        """Forget a stack's claims, and return the other stacks whose conflicts may have changed by it.

        What the stack holds stays its own until `release_holder`: it holds it again if it comes back.
        """
        return self._replace(stack, ())

    def record_holder(self, key: str, stack: str) -> frozenset[str]:
        """Note that a stack holds a path or a PersistentVolume's name, because it was applied.

        Return the stacks whose conflicts may have changed by it, that stack perhaps among them.
        """
        if self._holders.get(key) == stack:
            return frozenset()
        ranks = self._ranks_at({key})
        self._holders[key] = stack
        return self._rank_anew(key, ranks)

    def claimants_of(self, key: str) -> frozenset[str]:
        """Return the stacks whose contracts ask for exactly this path or PersistentVolume's name."""
        return frozenset(self._tree.find(key))

    def holder_of(self, key: str) -> str | None:
        """Return the stack that holds a path or a PersistentVolume's name, None when none does."""
        return self._holders.get(key)

    def release_holder(self, key: str) -> frozenset[str]:
        """Note that nobody holds a path or a PersistentVolume's name any more, because it was pruned.

        Return the stacks whose conflicts may have changed by it.
        """
        if key not in self._holders:
            return frozenset()
        ranks = self._ranks_at({key})
        del self._holders[key]
        return self._rank_anew(key, ranks)

    def conflicts_of(self, stack: str) -> tuple[Conflict, ...]:
        """Return the conflicts that a stack is told of: those that it loses first, then as its file goes on.

        Empty if it has none, or is not known.
        """
        found = chain.from_iterable(self._conflicts_of(claim) for claim in self._claims_of.get(stack, ()))
        return tuple(
            sorted(found, key=lambda each: (not each.is_blocked, each.own.line, each.own.kind, each.other.stack))
        )

    def _conflicts_of(self, own: Claim) -> Iterator[Conflict]:
        is_blocked = self._kept.get(own.key) != own
        for key, claims in self._tree.find_contesting(own.key):
            kept = self._kept.get(key)
            against = claims.values() if not is_blocked else () if kept is None else (kept,)
            for other in against:
                if other.stack != own.stack:
                    winner = other if is_blocked else own
                    yield Conflict(own, other, is_blocked, self._holders.get(winner.key) == winner.stack)

    def _replace(self, stack: str, claims: tuple[Claim, ...]) -> frozenset[str]:
        """Replace a stack's claims, and return the other stacks whose conflicts may have changed."""
        before, after = set(self._claims_of.pop(stack, ())), set(claims)
        gone, fresh = before - after, after - before
        ranks = self._ranks_at({claim.key for claim in gone | fresh})
        affected = self._find_keepers(gone)
        for claim in gone:
            self._tree.remove(claim)
            if self._best[claim.key] == claim:
                self._choose_best(claim.key)
        for claim in fresh:
            self._tree.add(claim)
            best = self._best.get(claim.key, claim)
            self._best[claim.key] = min(best, claim, key=self._rank)
        if claims:
            self._claims_of[stack] = claims
        affected |= self._settle(ranks) | self._find_keepers(fresh)
        return affected - {stack}

    def _rank_anew(self, key: str, ranks_before: _Ranks) -> frozenset[str]:
        """Take in that another stack holds a key; return the stacks whose conflicts may have changed."""
        self._choose_best(key)
        # Who keeps it may stay the same, and the reason for it change: all who are told of it are told anew.
        return self._settle(ranks_before) | self._find_claimants(key)

    def _settle(self, ranks_before: _Ranks) -> frozenset[str]:
        """Decide anew who keeps the changed keys and all that this changes; return the stacks it concerns.

        Takes the changed keys, each with the best rank of its claims before the change. A key is decided
        after all that rank before it, and one that changes hands puts only keys of a lower rank in doubt: so
        each decision rests on decisions that stand.
        """
        moved: set[Claim] = set()
        doubtful = []
        for key, now in self._ranks_at(ranks_before).items():
            if (kept := self._kept.pop(key, None)) is not None:
                moved ^= {kept}
            first = min(ranks_before[key], now)
            doubtful += [rank for rank in self._ranks_near(key) if rank >= first]
        heapify(doubtful)
        while doubtful:
            rank = heappop(doubtful)
            key = rank[2]
            kept = None if self._is_blocked(key, rank) else self._best[key]
            if kept == self._kept.get(key):
                continue
            for claim in (self._kept.pop(key, None), kept):
                if claim is not None:
                    moved ^= {claim}
            if kept is not None:
                self._kept[key] = kept
            for near in self._ranks_near(key):
                if near > rank:
                    heappush(doubtful, near)
        return frozenset(chain.from_iterable(self._find_claimants(claim.key) | {claim.stack} for claim in moved))

    def _is_blocked(self, key: str, rank: _Rank) -> bool:
        """Say whether a key contests one that is kept and ranks before it."""
        return any(near in self._kept and self._rank(self._kept[near]) < rank for near in self._find_keys(key))

    def _choose_best(self, key: str) -> None:
        """Find again the claim of the best rank to a key."""
        self._best.pop(key, None)
        if claims := self._tree.find(key):
            self._best[key] = min(claims.values(), key=self._rank)

    def _rank(self, claim: Claim) -> _Rank:
        return self._holders.get(claim.key) != claim.stack, claim.stack, claim.key

    def _ranks_at(self, keys: Iterable[str]) -> _Ranks:
        """Return the best rank of the claims to each key; of one that nobody claims, the lowest there is."""
        return {key: self._rank(self._best[key]) if key in self._best else _LOWEST for key in keys}

    def _ranks_near(self, key: str) -> Iterator[_Rank]:
        """Yield the best rank of each claimed key that contests a key, itself among them if it is claimed."""
        return (self._rank(self._best[near]) for near in self._find_keys(key))

    def _find_keys(self, key: str) -> Iterator[str]:
        """Yield each claimed key that contests a key, itself among them if it is claimed."""
        return (near for near, _ in self._tree.find_contesting(key))

    def _find_keepers(self, claims: Iterable[Claim]) -> frozenset[str]:
        """Return the stacks that keep what contests one of the claims."""
        keys = chain.from_iterable(self._find_keys(claim.key) for claim in claims)
        return frozenset(self._kept[key].stack for key in keys if key in self._kept)

    def _find_claimants(self, key: str) -> frozenset[str]:
        """Return the stacks with a claim that contests a key."""
        return frozenset(chain.from_iterable(claims for _, claims in self._tree.find_contesting(key)))
