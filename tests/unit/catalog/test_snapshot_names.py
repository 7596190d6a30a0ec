"""The names of snapshots: transitions, and two operators who change them at the same time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import DuplicateKeyError

from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.names import SnapshotNames, expect_active, read_names, write_names
from framematch.core.errors import CatalogError, StaleNamesError

NAMES = SnapshotNames(7, active="a", previous="p", shadow="s", shadow_sample=0.5)


def test_the_active_snapshot_before_becomes_the_previous_one() -> None:
    assert NAMES.with_active("n") == replace(NAMES, active="n", previous="a")


def test_activating_the_active_snapshot_changes_nothing() -> None:
    assert NAMES.with_active("a") == NAMES


def test_a_shadow_that_becomes_active_is_no_shadow_any_more() -> None:
    assert NAMES.with_active("s") == NAMES.promoted() == replace(NAMES, active="s", previous="a", shadow=None)


def test_a_rollback_exchanges_active_and_previous_and_a_second_one_undoes_it() -> None:
    assert NAMES.rolled_back() == replace(NAMES, active="p", previous="a")
    assert NAMES.rolled_back().rolled_back() == NAMES


def test_the_active_snapshot_is_no_shadow_of_itself() -> None:
    with pytest.raises(CatalogError, match="snapshot a is active"):
        NAMES.with_shadow("a")


def test_there_is_a_shadow_or_none() -> None:
    assert NAMES.with_shadow("n", 0.1) == replace(NAMES, shadow="n", shadow_sample=0.1)
    assert NAMES.with_shadow(None) == replace(NAMES, shadow=None, shadow_sample=1.0)


def test_without_a_previous_snapshot_or_a_shadow_nothing_is_rolled_back_or_promoted() -> None:
    with pytest.raises(CatalogError, match="no previous snapshot"):
        SnapshotNames(1, active="a").rolled_back()
    with pytest.raises(CatalogError, match="no shadow"):
        SnapshotNames(1, active="a").promoted()


def test_an_expectation_that_does_not_hold_names_both_snapshots() -> None:
    expect_active(NAMES, None)
    expect_active(NAMES, "a")
    with pytest.raises(StaleNamesError, match="the active snapshot is a, not x"):
        expect_active(NAMES, "x")


class FakeMeta:
    """The collection `meta`, as far as names need it."""

    def __init__(self) -> None:
        self.document: dict[str, Any] | None = None

    async def find_one(self, _query: dict[str, Any]) -> dict[str, Any] | None:
        """The document."""
        return self.document

    async def insert_one(self, document: dict[str, Any]) -> None:
        """Insert it, if there is none."""
        if self.document is not None:
            raise DuplicateKeyError("it exists")
        self.document = document

    async def replace_one(self, query: dict[str, Any], fields: dict[str, Any]) -> SimpleNamespace:
        """Replace it, if it has the version of the query."""
        if self.document is None or self.document["version"] != query["version"]:
            return SimpleNamespace(matched_count=0)
        self.document = {"_id": query["_id"], **fields}
        return SimpleNamespace(matched_count=1)


@dataclass
class Operator:
    """Somebody who reads the names, thinks, and changes them."""

    seen: SnapshotNames = field(default_factory=SnapshotNames)


Change = Callable[[SnapshotNames], SnapshotNames]
IDS = st.sampled_from("xyz")
CHANGES: st.SearchStrategy[Change] = st.one_of(
    IDS.map(lambda key: lambda names: names.with_active(key)),
    IDS.map(lambda key: lambda names: names.with_shadow(key)),
    st.just(lambda names: names.with_shadow(None)),
    st.just(lambda names: names.rolled_back()),
    st.just(lambda names: names.promoted()),
)
# Which of two operators acts; None stands for reading.
STEPS = st.lists(st.tuples(st.booleans(), st.none() | CHANGES), max_size=30)


@given(STEPS)
def test_no_change_of_two_operators_is_lost_and_previous_was_active_before(
    steps: list[tuple[bool, Change | None]],
) -> None:
    asyncio.run(play(steps))


async def play(steps: list[tuple[bool, Change | None]]) -> None:
    """Each written change starts from the one written before it, or is refused."""
    database = cast("Database", SimpleNamespace(meta=FakeMeta()))
    operators = {False: Operator(), True: Operator()}
    history = [SnapshotNames()]
    for who, change in steps:
        operator = operators[who]
        if change is None:
            operator.seen = await read_names(database)
            assert operator.seen == history[-1]
            continue
        try:
            wanted = change(operator.seen)
        except CatalogError:
            continue
        try:
            operator.seen = await write_names(database, operator.seen, wanted)
        except StaleNamesError:
            assert operator.seen != history[-1]
            assert await read_names(database) == history[-1]
        else:
            if operator.seen.version != wanted.version:
                assert operator.seen == replace(wanted, version=history[-1].version + 1)
                history.append(operator.seen)
    check_previous(history)


def check_previous(history: list[SnapshotNames]) -> None:
    active = [names.active for names in history]
    for number, names in enumerate(history):
        before = [key for key in active[:number] if key is not None and key != names.active]
        changes = [at for at in range(1, number + 1) if active[at] != active[at - 1]]
        assert names.previous == (active[changes[-1] - 1] if changes else None)
        assert names.previous is None or names.previous in before
        assert names.active is None or names.active not in {names.previous, names.shadow}
