"""The documents by which serving processes say which snapshot they have, in a real MongoDB server."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.serving_status import (
    MAX_AGE_S,
    RefusedSnapshot,
    ServingStatus,
    ensure_expiry,
    read_statuses,
    remove_status,
    served_by,
    write_status,
)

pytestmark = pytest.mark.integration

STATUS = ServingStatus("one", "host-1", 7, "consumer", "new", 3, None, 12)
OTHER = replace(STATUS, instance="two", pid=8, snapshot="old", shadow="next", refused=RefusedSnapshot("new", "damaged"))


async def test_each_process_has_one_document_with_its_newest_status(database: Database) -> None:
    await ensure_expiry(database)
    await write_status(database, replace(STATUS, snapshot="old"))
    await write_status(database, OTHER)
    await write_status(database, STATUS)
    statuses = await read_statuses(database)
    assert statuses == [STATUS, OTHER]
    assert (served_by(statuses, "new"), served_by(statuses, "old"), served_by(statuses, "none")) == (1, 1, 0)


async def test_a_process_that_has_ended_or_has_been_silent_does_not_count(database: Database) -> None:
    await write_status(database, STATUS)
    await write_status(database, OTHER)
    await remove_status(database, STATUS.instance)
    assert await read_statuses(database) == [OTHER]
    silent = datetime.now(UTC) - timedelta(seconds=MAX_AGE_S + 1)
    await database.serving.update_one({"_id": OTHER.instance}, {"$set": {"at": silent}})
    assert await read_statuses(database) == []


@pytest.mark.parametrize(
    "damage", [{"snapshot": None}, {"delta": "many"}, {"refused": "no"}, {"refused": {"snapshot": 1}}, {"pid": 0}]
)
async def test_a_document_that_is_not_ours_is_left_out_and_named(database: Database, damage: dict[str, Any]) -> None:
    await write_status(database, STATUS)
    await write_status(database, OTHER)
    await database.serving.update_one({"_id": OTHER.instance}, {"$set": damage})
    with capture_logs() as logs:
        assert await read_statuses(database) == [STATUS]
    assert [(line["event"], line["instance"]) for line in logs] == [("serving_status_unreadable", "'two'")]
