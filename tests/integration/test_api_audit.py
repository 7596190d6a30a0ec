"""The audit log in MongoDB: nothing is lost while it is away, nothing is written twice, and nobody waits for long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from structlog.testing import capture_logs

from framematch.api.access.audit import AuditEntry, AuditLog, ensure_audit, entry_of, safe_parameters, write_entries
from framematch.catalog.mongo import Database
from framematch.catalog.values import DocumentError
from tests.support import eventually


def entry(number: int = 0) -> AuditEntry:
    return AuditEntry(
        "boss", "key", "0123456789ab", "192.0.2.1", "DELETE", "/v1/products/{product}", {"product": str(number)}, 204,
        f"request-{number}", datetime(2026, 11, 30, 12, tzinfo=UTC),
    )  # fmt: skip


@asynccontextmanager
async def running(audit: AuditLog) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(audit.run(stop))
        try:
            yield
        finally:
            stop.set()


@asynccontextmanager
async def away(address: str) -> AsyncIterator[Database]:
    """A database whose server does not answer."""
    uri = f"mongodb://{address}"
    async with AsyncMongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=20, tz_aware=True) as client:
        yield client["test"]


async def test_what_is_added_before_the_end_is_written(database: Database) -> None:
    audit = AuditLog(database)
    async with running(audit):
        for number in range(450):
            await audit.add(entry(number))
    assert await database.audit.count_documents({}) == 450


async def test_a_batch_that_is_written_twice_is_there_once(database: Database) -> None:
    entries = [entry(1), entry(2)]
    await write_entries(database, entries[:1])
    await write_entries(database, entries)
    assert await database.audit.count_documents({}) == 2


async def test_entries_wait_while_mongodb_is_away_and_are_written_afterwards(
    database: Database, dead_address: str
) -> None:
    async with away(dead_address) as dead:
        audit = AuditLog(dead)
        audit._write_timeout_s = 0.05  # noqa: SLF001  # the test need not wait
        with capture_logs() as logs:
            async with running(audit):
                await audit.add(entry())
                await eventually(lambda: any(line["event"] == "audit_delayed" for line in logs))
                audit._database = database  # noqa: SLF001  # it answers again
        assert await database.audit.count_documents({}) == 1
        assert not any(line["event"] == "audit_entry_lost" for line in logs)


async def test_an_entry_without_room_goes_into_the_log_after_a_bounded_wait(dead_address: str) -> None:
    async with away(dead_address) as dead:
        audit = AuditLog(dead, queue_max=2, wait_s=0.01)
        with capture_logs() as logs:
            for number in range(3):
                await audit.add(entry(number))
    lost = [line for line in logs if line["event"] == "audit_entry_lost"]
    assert [(line["principal"], line["parameters"], line["status"]) for line in lost] == [
        ("boss", {"product": "2"}, 204)
    ]


async def test_the_time_that_entries_are_kept_can_change(database: Database) -> None:
    for days in (365, 30, 30):
        await ensure_audit(database, days)
    indexes = await database.audit.index_information()
    assert indexes["expires"]["expireAfterSeconds"] == 30 * 86_400


def test_parameters_are_bounded_and_have_no_secret() -> None:
    found = safe_parameters({"key_id": f"fm_0123456789ab_{'s' * 43}", "product": "x" * 1_000, "n": 5})
    assert found == {"key_id": "fm_0123456789ab_***", "product": "x" * 200, "n": "5"}


@pytest.mark.parametrize("field", ["at", "principal", "parameters", "status"])
async def test_a_document_that_is_not_ours_has_no_entry(database: Database, field: str) -> None:
    await write_entries(database, [entry()])
    document = await database.audit.find_one({})
    assert document is not None
    assert entry_of(document).route == "/v1/products/{product}"
    with pytest.raises(DocumentError):
        entry_of({**document, field: ["x"]})
