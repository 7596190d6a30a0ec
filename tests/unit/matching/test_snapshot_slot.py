"""What one name serves: it changes only to what is open, and goes on with the old one as long as nothing else is."""

import asyncio
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from framematch.catalog.changes.delta import Delta
from framematch.core.errors import CatalogError, FramematchError, MongoUnavailableError
from framematch.matching.serving import slot as snapshot_slot
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.matching.serving.slot import Refusal, Served, SnapshotName, SnapshotSlot
from tests.support import eventually
from tests.unit.consumers.sample_frames import make_served


class ScriptedOpener:
    """Opens any snapshot, unless an error is set for it; `gate` makes opening wait."""

    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}
        self.gate: dict[str, asyncio.Event] = {}
        self.opened: list[str] = []
        self.newest = 0
        self.updates = 0
        self.update_error: FramematchError | None = None

    async def open(self, snapshot_id: str) -> ServedSnapshot:
        """Like `SnapshotOpener.open`."""
        self.opened.append(snapshot_id)
        if snapshot_id in self.gate:
            await self.gate[snapshot_id].wait()
        if snapshot_id in self.errors:
            raise self.errors[snapshot_id]
        return make_served(snapshot=snapshot_id, delta=self.newest)

    async def update(self, served: ServedSnapshot) -> ServedSnapshot:
        """Like `SnapshotOpener.update`."""
        self.updates += 1
        if self.update_error:
            raise self.update_error
        return replace(served, changes=Delta(self.newest))


class Listener:
    """Records what it is told."""

    def __init__(self) -> None:
        self.swaps: list[tuple[str | None, str | None]] = []
        self.refusals: list[Refusal | None] = []

    def swapped(self, _name: SnapshotName, old: Served, new: Served, _took_s: float) -> None:
        """Like `SwapListener.swapped`."""
        self.swaps.append((_shown(old), _shown(new)))

    def refused(self, _name: SnapshotName, refusal: Refusal | None) -> None:
        """Like `SwapListener.refused`."""
        self.refusals.append(refusal)


@pytest.fixture(autouse=True)
def _long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is tried again only because of news; `frequent` shortens the pauses."""
    monkeypatch.setattr(snapshot_slot, "_BACKOFF_S", (1e6, 1e6))
    monkeypatch.setattr("random.uniform", lambda _low, high: high)


@pytest.fixture
def opener() -> ScriptedOpener:
    return ScriptedOpener()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
async def slot(opener: ScriptedOpener, listener: Listener) -> AsyncIterator[SnapshotSlot]:
    """Serves the snapshot `old`, and follows."""
    own = SnapshotSlot("active", opener, listener)
    await own.open_first("old", 1)
    following = asyncio.create_task(own.run())
    yield own
    following.cancel()
    await asyncio.wait([following])


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as lines:
        yield lines


async def test_it_serves_the_old_one_until_the_new_one_is_open(
    slot: SnapshotSlot, opener: ScriptedOpener, listener: Listener
) -> None:
    opener.gate["new"] = asyncio.Event()
    slot.follow("new", 2, 0)
    await eventually(lambda: "new" in opener.opened)
    assert _shown(slot.served) == "old+0"
    opener.gate["new"].set()
    await eventually(lambda: _shown(slot.served) == "new+0")
    assert listener.swaps == [(None, "old+0"), ("old+0", "new+0")]


async def test_what_is_being_opened_is_given_up_when_another_is_wanted(
    slot: SnapshotSlot, opener: ScriptedOpener, listener: Listener
) -> None:
    opener.gate["slow"] = asyncio.Event()
    slot.follow("slow", 2, 0)
    await eventually(lambda: "slow" in opener.opened)
    slot.follow("new", 3, 0)
    await eventually(lambda: _shown(slot.served) == "new+0")
    assert listener.swaps[1:] == [("old+0", "new+0")]


async def test_names_that_change_otherwise_do_not_open_it_again(slot: SnapshotSlot, opener: ScriptedOpener) -> None:
    opener.gate["new"] = asyncio.Event()
    slot.follow("new", 2, 0)
    await eventually(lambda: "new" in opener.opened)
    slot.follow("new", 3, 0)
    opener.gate["new"].set()
    await eventually(lambda: _shown(slot.served) == "new+0")
    assert opener.opened == ["old", "new"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CatalogError("it is damaged", hint="build it"), "it is damaged"),
        (MongoUnavailableError("no answer"), "no answer"),
        (OSError(28, "No space left on device"), "snapshot new cannot be opened: No space left on device"),
        (MemoryError(), "snapshot new cannot be opened: not enough memory"),
        (ValueError("a bug"), "snapshot new cannot be opened: ValueError, see the log"),
    ],
)
async def test_what_cannot_be_opened_is_refused_and_the_old_one_goes_on(
    slot: SnapshotSlot, opener: ScriptedOpener, listener: Listener, error: Exception, reason: str
) -> None:
    opener.errors["new"] = error
    slot.follow("new", 2, 0)
    await eventually(lambda: slot.refusal)
    [refusal] = listener.refusals
    assert refusal == slot.refusal
    assert refusal is not None
    assert (refusal.snapshot, refusal.reason, _shown(slot.served)) == ("new", reason, "old+0")


async def test_a_bug_is_logged_with_its_traceback_and_other_reasons_without(
    slot: SnapshotSlot, opener: ScriptedOpener, logs: list[MutableMapping[str, Any]]
) -> None:
    opener.errors = {"one": ValueError("a bug"), "other": CatalogError("it is damaged")}
    slot.follow("one", 2, 0)
    await eventually(lambda: slot.refusal)
    slot.follow("other", 3, 0)
    await eventually(lambda: slot.refusal and slot.refusal.snapshot == "other")
    assert [line["exc_info"] for line in logs if line["event"] == "snapshot_refused"] == [True, False]


async def test_it_is_tried_again_after_a_pause_and_logged_once_for_each_reason(
    slot: SnapshotSlot, opener: ScriptedOpener, logs: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_slot, "_BACKOFF_S", (0.0, 0.0))
    opener.errors["new"] = CatalogError("the disk is full")
    slot.follow("new", 2, 0)
    await eventually(lambda: len(opener.opened) > 5)
    opener.errors["new"] = CatalogError("it is damaged")
    tried = len(opener.opened)
    await eventually(lambda: len(opener.opened) > tried + 5)
    del opener.errors["new"]
    await eventually(lambda: _shown(slot.served) == "new+0")
    assert slot.refusal is None
    reasons = [line["reason"] for line in logs if line["event"] == "snapshot_refused"]
    assert reasons == ["the disk is full", "it is damaged"]


async def test_it_is_tried_again_at_once_when_the_watcher_says_so(slot: SnapshotSlot, opener: ScriptedOpener) -> None:
    opener.errors["new"] = CatalogError("MongoDB refused")
    slot.follow("new", 2, 0)
    await eventually(lambda: slot.refusal)
    del opener.errors["new"]
    slot.retry()
    await eventually(lambda: _shown(slot.served) == "new+0")


async def test_a_server_that_is_away_is_tried_sooner(
    slot: SnapshotSlot, opener: ScriptedOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_slot, "_SERVER_AWAY_S", 0.0)
    opener.errors["new"] = MongoUnavailableError("no answer")
    slot.follow("new", 2, 0)
    await eventually(lambda: len(opener.opened) > 3)


async def test_it_is_tried_again_at_once_when_the_names_change(slot: SnapshotSlot, opener: ScriptedOpener) -> None:
    opener.errors["new"] = CatalogError("Triton does not serve its model")
    slot.follow("new", 2, 0)
    await eventually(lambda: slot.refusal)
    del opener.errors["new"]
    slot.follow("new", 2, 5)  # changes of products are no reason
    slot.follow("new", 3, 5)
    await eventually(lambda: _shown(slot.served) == "new+0")
    assert opener.opened == ["old", "new", "new"]


async def test_the_refusal_ends_when_the_old_one_is_wanted_again(
    slot: SnapshotSlot, opener: ScriptedOpener, listener: Listener
) -> None:
    opener.errors["new"] = CatalogError("it is damaged")
    slot.follow("new", 2, 0)
    await eventually(lambda: slot.refusal)
    slot.follow("old", 3, 0)
    await eventually(lambda: slot.refusal is None)
    assert (opener.opened, listener.refusals[-1]) == (["old", "new"], None)


async def test_newer_changes_make_the_same_snapshot_anew(
    slot: SnapshotSlot, opener: ScriptedOpener, listener: Listener
) -> None:
    opener.newest = 7
    slot.follow("old", 1, 7)
    await eventually(lambda: _shown(slot.served) == "old+7")
    slot.follow("old", 1, 7)
    opener.newest = 9
    slot.follow("old", 1, 9)
    await eventually(lambda: _shown(slot.served) == "old+9")
    assert (opener.opened, opener.updates) == (["old"], 2)
    assert listener.swaps[1:] == [("old+0", "old+7"), ("old+7", "old+9")]


async def test_changes_that_cannot_be_served_are_refused_and_the_others_go_on(
    slot: SnapshotSlot, opener: ScriptedOpener
) -> None:
    opener.update_error = CatalogError("there are 5,001 changed rows")
    slot.follow("old", 1, 7)
    await eventually(lambda: slot.refusal)
    assert (_shown(slot.served), slot.refusal and slot.refusal.snapshot) == ("old+0", "old")
    opener.update_error, opener.newest = None, 7
    slot.follow("old", 2, 7)
    await eventually(lambda: _shown(slot.served) == "old+7")
    assert slot.refusal is None


async def test_a_cancellation_that_a_driver_loses_ends_it_nevertheless(
    opener: ScriptedOpener, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = SnapshotSlot("active", opener, listener)
    await slot.open_first("old", 1)
    opening = asyncio.Event()

    async def open_uncancelled(snapshot_id: str) -> ServedSnapshot:
        opening.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return make_served(snapshot=snapshot_id)

    monkeypatch.setattr(opener, "open", open_uncancelled)
    following = asyncio.create_task(slot.run())
    slot.follow("new", 2, 0)
    await opening.wait()
    following.cancel()
    await asyncio.wait([following], timeout=5)
    assert following.cancelled()
    assert _shown(slot.served) == "old+0"


async def test_nothing_is_served_when_nothing_is_wanted(slot: SnapshotSlot, listener: Listener) -> None:
    slot.follow(None, 2, 0)
    await eventually(lambda: slot.served is None)
    slot.follow("new", 3, 0)
    await eventually(lambda: _shown(slot.served) == "new+0")
    assert listener.swaps[1:] == [("old+0", None), (None, "new+0")]


def _shown(served: Served) -> str | None:
    return None if served is None else f"{served.manifest.id}+{served.delta}"
