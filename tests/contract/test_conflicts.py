"""Conflicts between stacks, against a model that compares each claim with each other one."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hostk8s_agent.contract.claims import Claim, claims_of
from hostk8s_agent.contract.conflicts import ClaimIndex, Conflict
from hostk8s_agent.contract.model import Contract, Directory
from hostk8s_agent.contract.reporting import Position
from hostk8s_agent.contract.values import Owner


def contract(stack: str, directories: dict[str, str], *, line: int = 8) -> Contract:
    """Return a contract that claims a path for each directory's name."""
    return Contract(
        stack=stack,
        namespace=None,
        directories=tuple(
            Directory(
                name=name,
                path=path,
                size="1Gi",
                size_bytes=2**30,
                access_modes=("ReadWriteOnce",),
                storage_class="shared",
                owner=Owner(1000, 1000),
                permissions=0o755,
                position=Position(line + 5 * number, 7),
                path_position=Position(line + 5 * number + 1, 13),
            )
            for number, (name, path) in enumerate(directories.items())
        ),
        snapshots=None,
        file=f"software/stacks/{stack}/hostk8s.storage.yaml",
        digest="",
    )


def index_of(*contracts: Contract, holders: dict[str, str] | None = None) -> ClaimIndex:
    """Return an index that holds these contracts."""
    index = ClaimIndex(holders)
    for each in contracts:
        index.update(each)
    return index


def sides(index: ClaimIndex, stack: str) -> list[tuple[str, str, bool]]:
    """Return for each conflict of a stack: the directory, the other stack, whether the stack is blocked."""
    return [(each.directory, each.other_stack, each.is_blocked) for each in index.conflicts_of(stack)]


def test_the_first_by_name_keeps_a_path() -> None:
    """Whatever order they come in; the other is blocked, and both are told."""
    for order in (("a", "b"), ("b", "a")):
        index = index_of(*(contract(stack, {stack: "/mnt/pv/x"}) for stack in order))

        assert sides(index, "a") == [("a", "b", False)]
        assert sides(index, "b") == [("b", "a", True)]


def test_the_stack_that_holds_a_path_keeps_it() -> None:
    """Its data is there already."""
    index = index_of(contract("a", {"d": "/mnt/pv/x"}), contract("b", {"e": "/mnt/pv/x"}), holders={"/mnt/pv/x": "b"})

    assert sides(index, "a") == [("d", "b", True)]
    assert "stack 'b' keeps it, because it holds it already" in str(index.conflicts_of("a")[0].problem)


def test_who_holds_a_name_is_learned_and_forgotten() -> None:
    """As stacks are applied and pruned."""
    name = "hostk8s-a-b-c-pv"
    index = index_of(contract("a", {"b-c": "/mnt/pv/1"}), contract("a-b", {"c": "/mnt/pv/2"}))
    assert sides(index, "a") == [("b-c", "a-b", False)]

    assert index.record_holder(name, "a-b") == {"a", "a-b"}
    assert index.record_holder(name, "a-b") == frozenset()
    assert sides(index, "a") == [("b-c", "a-b", True)]

    assert index.release_holder(name) == {"a", "a-b"}
    assert index.release_holder(name) == frozenset()
    assert sides(index, "a") == [("b-c", "a-b", False)]


def test_a_path_inside_another_is_a_conflict_in_both_directions() -> None:
    """Whoever comes first by name."""
    index = index_of(contract("a", {"d": "/mnt/pv/x/y/z"}), contract("b", {"d": "/mnt/pv/x"}))

    (outer,) = index.conflicts_of("b")
    (inner,) = index.conflicts_of("a")

    assert outer.is_blocked
    assert not inner.is_blocked
    assert "'/mnt/pv/x' has inside it '/mnt/pv/x/y/z'" in outer.problem.message
    assert "'/mnt/pv/x/y/z' lies inside '/mnt/pv/x'" in inner.problem.message


@pytest.mark.parametrize(("one", "other"), [("/mnt/pv/a", "/mnt/pv/ab"), ("/mnt/pv/a/b", "/mnt/pv/a/c")])
def test_paths_that_only_look_alike_are_no_conflict(one: str, other: str) -> None:
    """Neither namesakes nor neighbours."""
    index = index_of(contract("s", {"d": one}), contract("t", {"e": other}))

    assert index.conflicts_of("s") == ()


def test_shared_storage_classes_are_no_conflict() -> None:
    """All contracts of this file share one."""
    index = index_of(contract("s", {"d": "/mnt/pv/1"}), contract("t", {"d": "/mnt/pv/2"}))

    assert index.conflicts_of("s") == index.conflicts_of("t") == ()


def test_three_names_that_fold_into_one_are_a_conflict() -> None:
    """The winner is told of both, each of the others of the winner."""
    index = index_of(
        contract("a", {"b-c": "/mnt/pv/1"}), contract("a-b", {"c": "/mnt/pv/2"}), contract("a/b", {"c": "/mnt/pv/3"})
    )

    assert sides(index, "a") == [("b-c", "a-b", False), ("b-c", "a/b", False)]
    assert sides(index, "a-b") == [("c", "a", True)]
    assert sides(index, "a/b") == [("c", "a", True)]


def test_one_bad_contract_blocks_nobody_but_itself() -> None:
    """One that is blocked for claiming everything does not block those that come after it."""
    index = index_of(
        contract("a", {"d": "/mnt/pv/x/1"}), contract("b", {"d": "/mnt/pv/x"}), contract("c", {"d": "/mnt/pv/x/2"})
    )

    assert sides(index, "b") == [("d", "a", True), ("d", "c", True)]
    assert sides(index, "c") == [("d", "b", False)]


def test_a_conflict_names_both_places_and_the_way_out() -> None:
    """A person can act on it without looking anything up."""
    index = index_of(contract("a", {"d": "/mnt/pv/x"}, line=20), contract("b", {"e": "/mnt/pv/x"}))

    (conflict,) = index.conflicts_of("b")

    assert str(conflict.problem) == (
        "software/stacks/b/hostk8s.storage.yaml:9:13: the path '/mnt/pv/x' is also claimed by directory 'd' of stack"
        " 'a' (software/stacks/a/hostk8s.storage.yaml:21); stack 'a' keeps it, because it comes first by name;"
        " give directory 'e' of stack 'b' another path, or remove it"
    )


def test_an_update_names_those_whose_conflicts_change() -> None:
    """They are reconciled again, and nobody else is."""
    index = index_of(contract("other", {"d": "/mnt/pv/other"}))
    assert index.update(contract("b", {"d": "/mnt/pv/x"})) == frozenset()
    assert index.update(contract("c", {"d": "/mnt/pv/x"})) == {"b"}
    assert index.update(contract("d", {"d": "/mnt/pv/x"})) == {"b"}, "c is not told of d, for b blocks both"
    assert index.update(contract("a", {"d": "/mnt/pv/x/y"})) == {"b", "c", "d"}
    assert index.update(contract("a", {"d": "/mnt/pv/x/y"})) == frozenset()
    assert index.update(contract("c", {"d": "/mnt/pv/c"})) == {"a"}
    assert index.remove("a") == {"b", "d"}
    assert index.remove("a") == frozenset()


def test_a_line_that_moves_is_told_to_the_other_side() -> None:
    """Else its problem would point at the wrong line."""
    index = index_of(contract("a", {"d": "/mnt/pv/x"}), contract("b", {"d": "/mnt/pv/x"}))

    assert index.update(contract("a", {"d": "/mnt/pv/x"}, line=30)) == {"b"}
    assert index.update(contract("b", {"d": "/mnt/pv/x"}, line=40)) == {"a"}
    assert "/a/hostk8s.storage.yaml:31)" in index.conflicts_of("b")[0].problem.message


@pytest.mark.parametrize(
    "paths",
    [
        pytest.param(lambda number: f"/mnt/pv/s{number}", id="no conflict"),
        pytest.param(lambda _: "/mnt/pv/same", id="all claim one path"),
        pytest.param(lambda number: "/mnt/pv/all" if number == 2500 else f"/mnt/pv/all/s{number}", id="one claims all"),
        pytest.param(
            lambda number: "/mnt/pv/all" if number == 0 else f"/mnt/pv/all/s{number}", id="the first claims all"
        ),
    ],
)
def test_five_thousand_stacks_are_taken_in_and_asked_quickly(paths: object) -> None:
    """Each update and each question costs what one contract is long, also where they all conflict."""
    assert callable(paths)
    contracts = [contract(f"s{number:04}", {"d": paths(number)}) for number in range(5000)]
    index = ClaimIndex()

    started = time.thread_time()
    for each in contracts:
        index.update(each)
        index.conflicts_of(each.stack)
    seconds = time.thread_time() - started

    assert seconds < 10, "of CPU time; it takes well under one"


@dataclass(frozen=True)
class Model:
    """Conflicts worked out the long way: each claim against each other one."""

    contracts: dict[str, Contract]
    holders: dict[str, str]

    def conflicts(self) -> dict[str, set[tuple[Claim, Claim, bool, bool]]]:
        """Return for each stack its conflicts, as own and other claim, whether blocked, whether held."""
        claims = [claim for each in self.contracts.values() for claim in claims_of(each)]
        kept: list[Claim] = []
        for claim in sorted(claims, key=self._rank):
            if not any(self._contest(claim, other) for other in kept):
                kept.append(claim)
        found: dict[str, set[tuple[Claim, Claim, bool, bool]]] = {stack: set() for stack in self.contracts}
        for winner in kept:
            for loser in claims:
                if loser not in kept and self._contest(winner, loser):
                    is_held = self.holders.get(winner.key) == winner.stack
                    found[winner.stack].add((winner, loser, False, is_held))
                    found[loser.stack].add((loser, winner, True, is_held))
        return found

    def _rank(self, claim: Claim) -> tuple[bool, str, str]:
        return self.holders.get(claim.key) != claim.stack, claim.stack, claim.key

    @staticmethod
    def _contest(one: Claim, other: Claim) -> bool:
        if one.stack == other.stack or one.kind is not other.kind:
            return False
        return (
            one.key == other.key
            or f"{one.key}/".startswith(f"{other.key}/")
            or f"{other.key}/".startswith(f"{one.key}/")
        )


STACKS = ["a", "a-b", "a/b", "b", "c"]
NAMES = ["b", "b-c", "c"]
PATHS = ["/mnt/pv/" + path for path in ("1", "1/2", "1/2/3", "1/4", "2", "2/2", "12", "1/2/3/4", "2/2/2/2")]


class IndexAgainstModel(RuleBasedStateMachine):
    """Random contracts come, change and go, and random holders with them; the index and the model agree."""

    @initialize(holders=st.dictionaries(st.sampled_from(PATHS), st.sampled_from(STACKS), max_size=3))
    def start(self, holders: dict[str, str]) -> None:
        """Start with some paths held already."""
        self.index = ClaimIndex(holders)
        self.contracts: dict[str, Contract] = {}
        self.holders = dict(holders)
        self.known = Model({}, {}).conflicts()

    @rule(
        stack=st.sampled_from(STACKS),
        directories=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(PATHS), min_size=1),
        line=st.integers(1, 2),
    )
    def update(self, stack: str, directories: dict[str, str], line: int) -> None:
        """Save a contract, without the paths that would make it invalid."""
        valid: dict[str, str] = {}
        for name, path in directories.items():
            if not any(
                f"{path}/".startswith(f"{each}/") or f"{each}/".startswith(f"{path}/") for each in valid.values()
            ):
                valid[name] = path
        self.contracts[stack] = contract(stack, valid, line=line)
        self.check(self.index.update(self.contracts[stack]), of=stack)

    @rule(stack=st.sampled_from(STACKS))
    def remove(self, stack: str) -> None:
        """Remove a contract."""
        self.contracts.pop(stack, None)
        self.check(self.index.remove(stack), of=stack)

    @rule(
        key=st.sampled_from([*PATHS, "hostk8s-a-b-c-pv", "hostk8s-a-b-pv"]), stack=st.none() | st.sampled_from(STACKS)
    )
    def change_holder(self, key: str, stack: str | None) -> None:
        """Apply or prune something."""
        if stack is None:
            self.holders.pop(key, None)
            self.check(self.index.release_holder(key))
        else:
            self.holders[key] = stack
            self.check(self.index.record_holder(key, stack))

    def check(self, affected: frozenset[str], of: str | None = None) -> None:
        """Compare who is said to be affected with whose conflicts are others than before."""
        before, self.known = self.known, Model(self.contracts, self.holders).conflicts()
        changed = {stack for stack, found in self.known.items() if found != before.get(stack, set())} - {of}
        assert changed <= affected
        assert of not in affected

    @invariant()
    def the_index_knows_what_the_model_knows(self) -> None:
        """Each stack's conflicts are the same, blocked ones first."""
        for stack in STACKS:
            found = self.index.conflicts_of(stack)
            assert self.known.get(stack, set()) == {as_tuple(each) for each in found}
            assert len(found) == len(set(found))
            assert sorted(found, key=lambda each: not each.is_blocked) == list(found)


def as_tuple(conflict: Conflict) -> tuple[Claim, Claim, bool, bool]:
    """Return a conflict as the model has it."""
    return conflict.own, conflict.other, conflict.is_blocked, conflict.is_held


TestIndexAgainstModel = IndexAgainstModel.TestCase
TestIndexAgainstModel.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
