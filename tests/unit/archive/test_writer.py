"""What the writer makes of MongoDB's answers: a bad document stops nothing, and all else is written again."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure
from structlog.testing import capture_logs

from framematch.archive import writer as writer_module
from framematch.archive.entries import Entry, Place
from framematch.archive.metrics import ArchiveMetrics
from framematch.archive.writer import ArchiveWriter
from framematch.core.errors import CatalogError, MongoUnavailableError


class FakeState:
    """Numbers without end; remembers how many reservations are open."""

    def __init__(self) -> None:
        self.next = 1
        self.open = 0

    async def find_one(self, _query: Any) -> dict[str, Any]:
        return {"next": self.next}

    async def find_one_and_update(self, _query: Any, change: Any, **_options: Any) -> dict[str, Any]:
        self.next += change["$inc"]["next"]
        self.open += 1
        return {"next": self.next}

    async def update_one(self, _query: Any, change: Any) -> None:
        self.open -= len(change["$unset"])


class ScriptedCollection:
    """Answers with these errors, or as the exception says, or never."""

    def __init__(self, answer: Exception | Sequence[tuple[int, int]] | None = ()) -> None:
        self.answer = answer
        self.written: list[Any] = []

    async def bulk_write(self, operations: Sequence[Any], *, ordered: bool) -> None:
        assert not ordered
        self.written += operations
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer:
            errors = [{"index": at, "code": code, "errmsg": f"code {code}"} for at, code in self.answer]
            raise BulkWriteError({"writeErrors": errors, "writeConcernErrors": []})


class FakeDatabase:
    """The collections of an archive."""

    def __init__(self, answer: Exception | Sequence[tuple[int, int]] | None = ()) -> None:
        self.state = FakeState()
        self.matches = ScriptedCollection(answer)

    def get_collection(self, name: str, **_options: Any) -> Any:
        return self.state if name == "archive_state" else self.matches


class Written:
    """What became of 100 events."""

    def __init__(self, answer: Exception | Sequence[tuple[int, int]] | None) -> None:
        self.registry = CollectorRegistry()
        self.database = FakeDatabase(answer)
        database: Any = self.database
        self._writer = ArchiveWriter(database, ArchiveMetrics(self.registry))

    async def run(self) -> None:
        await self._writer.write(
            [Entry("matches", str(n), None, {"event": "{}"}, Place("shop.matches", 3, n), 0) for n in range(100)]
        )

    def count(self, outcome: str, reason: str = "") -> float:
        labels = {"collection": "matches", "outcome": outcome, "reason": reason}
        return self.registry.get_sample_value("framematch_archive_events_total", labels) or 0


async def test_a_document_that_mongodb_will_never_take_stops_no_other() -> None:
    written = Written([(7, 121), (40, 11000)])
    with capture_logs() as logs:
        await written.run()
    assert (written.count("stored"), written.count("repeated"), written.count("refused", "refused")) == (98, 1, 1)
    [line] = logs
    assert (line["event"], line["topic"], line["partition"], line["offset"], line["error"]) == (
        "event_not_archived", "shop.matches", 3, 7, "code 121",
    )  # fmt: skip
    assert written.database.state.open == 0


@pytest.mark.parametrize("answer", [[(7, 14031)], [(7, 121), (8, 0)], OperationFailure("not authorized", 13)])
async def test_what_may_pass_is_an_error_and_readers_do_not_wait_for_it(answer: Any) -> None:
    written = Written(answer)
    with pytest.raises(CatalogError, match="MongoDB refused"):
        await written.run()
    assert written.database.state.open == 0


@pytest.mark.parametrize(
    "answer",
    [AutoReconnect("away"), BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 64}]}), None],
)
async def test_while_it_is_not_known_what_is_stored_readers_wait(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "WRITE_S", 0.05)
    written = Written(answer)
    with pytest.raises(MongoUnavailableError):
        await written.run()
    assert written.database.state.open == 1


async def test_events_are_numbered_in_their_order() -> None:
    written = Written([])
    await written.run()
    await written.run()
    documents = [operation._doc for operation in written.database.matches.written]  # noqa: SLF001  # pymongo has no other way
    assert [document["seq"] for document in documents] == list(range(1, 201))
