"""API keys in MongoDB: stored, cached, revoked, rotated; while MongoDB is away; and the command `api-key`."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from starlette.datastructures import Headers
from typer.testing import CliRunner, Result

from framematch.api.access.authenticator import KeyAuthenticator
from framematch.api.access.failures import FailureLimit
from framematch.api.access.key_cache import KeyCache
from framematch.api.access.key_store import create_key, find_key, list_keys, revoke_key, rotate_key
from framematch.api.access.keys import ApiKey, key_text, new_key_id, new_secret, parse_key
from framematch.api.access.principal import Principal
from framematch.api.problems import Problem
from framematch.catalog.mongo import Database, connect
from framematch.cli.api_key import app
from framematch.core.errors import MongoUnavailableError
from framematch.stack.mongodb import MongoServer

GRACE_S = 3600.0


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Gate:
    """An authenticator with its cache and clock."""

    def __init__(self, database: Database, failures_per_minute: int = 0, lookup_timeout_s: float = 30) -> None:
        self.clock = Clock()
        self.keys = KeyCache(
            database, refresh_s=5, grace_s=GRACE_S, lookup_timeout_s=lookup_timeout_s, monotonic_s=self.clock
        )
        self.wall = datetime.now(UTC)
        self._authenticator = KeyAuthenticator(self.keys, None, FailureLimit(failures_per_minute), lambda: self.wall)

    async def enter(self, key: str, client: str = "192.0.2.1") -> Principal:
        return await self._authenticator.authenticate(Headers({"x-api-key": key}), client)

    async def refusal(self, key: str) -> str:
        with pytest.raises(Problem) as found:
            await self.enter(key)
        return found.value.code


@pytest.fixture
def gate(database: Database) -> Gate:
    return Gate(database)


@pytest.fixture
async def dead_database(dead_address: str) -> AsyncIterator[Database]:
    """A database whose server does not answer."""
    async with AsyncMongoClient[dict[str, Any]](
        f"mongodb://{dead_address}", serverSelectionTimeoutMS=50, tz_aware=True
    ) as client:
        yield client["test"]


async def new_key(database: Database, **fields: Any) -> tuple[ApiKey, str]:
    return await create_key(database, **{"name": "till", "scopes": ["match"], "cameras": ["till-*"], **fields})


async def test_a_key_opens_what_it_was_made_for(database: Database, gate: Gate) -> None:
    key, text = await new_key(database, requests_per_minute=60)
    assert await gate.enter(text) == Principal("till", "key", frozenset({"match"}), ("till-*",), key.id, 60)


async def test_the_secret_is_nowhere_in_mongodb(database: Database) -> None:
    _key, text = await new_key(database)
    documents = await database.api_keys.find().to_list()
    assert text.rpartition("_")[2] not in repr(documents)


async def test_another_secret_and_another_id_are_refused_alike(database: Database, gate: Gate) -> None:
    key, _text = await new_key(database)
    assert await gate.refusal(key_text(key.id, new_secret())) == "key_unknown"
    assert await gate.refusal(key_text(new_key_id(), new_secret())) == "key_unknown"


async def test_an_expired_key_is_refused_and_says_so_to_its_owner_alone(database: Database, gate: Gate) -> None:
    key, text = await new_key(database, expires_at=gate.wall + timedelta(minutes=1))
    await gate.enter(text)
    gate.wall += timedelta(minutes=1)
    assert await gate.refusal(text) == "key_expired"
    assert await gate.refusal(key_text(key.id, new_secret())) == "key_unknown"


async def test_a_key_that_another_process_revokes_is_refused_after_the_next_refresh(
    database: Database, gate: Gate
) -> None:
    key, text = await new_key(database)
    await gate.enter(text)
    await revoke_key(database, key.id)
    await gate.enter(text)
    await gate.keys.refresh()
    assert await gate.refusal(text) == "key_revoked"


async def test_a_key_that_this_process_revokes_is_refused_at_once(database: Database, gate: Gate) -> None:
    key, text = await new_key(database)
    await gate.enter(text)
    await revoke_key(database, key.id)
    gate.keys.forget(key.id)
    assert await gate.refusal(text) == "key_revoked"


async def test_revoking_twice_keeps_the_first_time(database: Database) -> None:
    key, _text = await new_key(database)
    first, second = await revoke_key(database, key.id), await revoke_key(database, key.id)
    assert first is not None
    assert first == second
    assert await revoke_key(database, new_key_id()) is None


async def test_a_document_that_somebody_has_deleted_or_spoiled_opens_nothing(database: Database, gate: Gate) -> None:
    for change in ({"scopes": "admin"}, {"digest": "plain text"}, {"cameras": None}, {"expires_at": "never"}):
        key, text = await new_key(database)
        await gate.enter(text)
        await database.api_keys.update_one({"_id": key.id}, {"$set": change})
        await gate.keys.refresh()
        assert await gate.refusal(text) == "key_unknown"
    key, text = await new_key(database)
    await gate.enter(text)
    await database.api_keys.delete_one({"_id": key.id})
    await gate.keys.refresh()
    assert await gate.refusal(text) == "key_unknown"


async def test_a_rotated_key_has_two_secrets_for_a_while(database: Database, gate: Gate) -> None:
    key, old = await new_key(database)
    rotated = await rotate_key(database, key, gate.wall + timedelta(hours=1))
    assert rotated is not None
    assert await gate.enter(old) == await gate.enter(rotated[1])
    gate.wall += timedelta(hours=1)
    assert await gate.refusal(old) == "key_unknown"
    await gate.enter(rotated[1])


async def test_of_two_rotations_at_once_one_wins(database: Database) -> None:
    key, _text = await new_key(database)
    until = datetime.now(UTC)
    results = await asyncio.gather(*(rotate_key(database, key, until) for _ in range(2)))
    assert sum(result is not None for result in results) == 1


async def test_when_a_key_was_used_is_written_once_a_minute(database: Database, gate: Gate) -> None:
    key, text = await new_key(database)
    await gate.enter(text)
    await gate.keys.refresh()
    assert (found := await find_key(database, key.id)) is not None
    assert found.last_used_at is None
    gate.clock.now_s += 60
    await gate.keys.refresh()
    assert (found := await find_key(database, key.id)) is not None
    assert found.last_used_at is not None


async def test_keys_are_listed_in_pages(database: Database) -> None:
    ids = sorted([(await new_key(database))[0].id for _ in range(5)])
    first = await list_keys(database, limit=2)
    rest = await list_keys(database, after=first[-1].id)
    assert [key.id for key in first + rest] == ids


async def test_a_key_in_use_stays_valid_while_mongodb_is_away_for_a_bounded_time(
    database: Database, dead_database: Database
) -> None:
    gate = Gate(database, lookup_timeout_s=2)
    _key, text = await new_key(database)
    await gate.enter(text)
    gate.keys._database = dead_database  # noqa: SLF001  # as if the server had gone
    gate.keys._lookup_timeout_s = 0.05  # noqa: SLF001  # the test need not wait
    gate.clock.now_s += GRACE_S - 1
    await gate.keys.refresh()
    await gate.enter(text)
    gate.clock.now_s += 1
    assert await gate.refusal(text) == "access_unavailable"


async def test_a_key_that_was_not_used_cannot_be_checked_while_mongodb_is_away(dead_database: Database) -> None:
    gate = Gate(dead_database, lookup_timeout_s=0.05)
    with pytest.raises(Problem) as found:
        await gate.enter(key_text(new_key_id(), new_secret()))
    assert (found.value.status, found.value.code) == (503, "access_unavailable")
    with pytest.raises(MongoUnavailableError):
        await gate.keys.find(new_key_id())


async def test_an_unknown_id_asks_mongodb_once_in_a_while(gate: Gate) -> None:
    text = key_text(new_key_id(), new_secret())
    await gate.refusal(text)
    assert gate.keys.has(text.split("_")[1])
    gate.clock.now_s += 5
    assert not gate.keys.has(text.split("_")[1])


async def test_guesses_push_no_known_key_out(database: Database) -> None:
    gate = Gate(database)
    key, text = await new_key(database)
    await gate.keys.refresh()
    for _ in range(3):
        await gate.refusal(key_text(new_key_id(), new_secret()))
    assert gate.keys.has(key.id)
    assert (await gate.enter(text)).key_id == key.id


async def test_an_address_that_guesses_is_not_served_and_known_keys_go_on(database: Database) -> None:
    gate = Gate(database, failures_per_minute=3)
    known, known_text = await new_key(database)
    await gate.keys.refresh()
    _key, made_since = await new_key(database)
    for _ in range(3):
        assert await gate.refusal(key_text(new_key_id(), new_secret())) == "key_unknown"
    assert await gate.refusal(made_since) == "too_many_failures"
    assert await gate.refusal(key_text(known.id, new_secret())) == "key_unknown"
    await gate.enter(known_text)
    await gate.enter(made_since, client="192.0.2.2")


async def test_requests_without_a_key_lock_nobody_out(database: Database) -> None:
    gate = Gate(database, failures_per_minute=3)
    _key, text = await new_key(database)
    for bad in ("x", "fm_x", "fm_0123456789ab_short", "a.b.c") * 3:
        assert await gate.refusal(bad) == "key_malformed"
    await gate.enter(text)


def command(monkeypatch: pytest.MonkeyPatch, mongodb: MongoServer, *arguments: str) -> Result:
    monkeypatch.setenv("MONGODB_URI", mongodb.uri)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.exception
    return result


def test_the_command_creates_lists_and_revokes(mongodb: MongoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMATCH_MONGODB__DATABASE", f"test_{uuid.uuid4().hex}")
    created = command(monkeypatch, mongodb, "create", "till app", "--scope", "match", "--camera", "till-*")
    key = created.stdout.strip()
    parts = parse_key(key)
    assert parts is not None
    assert created.stdout == key + "\n"
    assert key not in created.stderr
    assert "till-*" in created.stderr

    revoked = command(monkeypatch, mongodb, "revoke", parts.id)
    assert revoked.stdout == f"Key {parts.id} of till app is revoked\n"

    found = json.loads(command(monkeypatch, mongodb, "list", "--json").stdout)
    assert (found["id"], found["state"], found["cameras"]) == (parts.id, "revoked", ["till-*"])
    assert parts.secret not in json.dumps(found)
    assert parts.id in command(monkeypatch, mongodb, "list").stdout


def test_a_key_of_the_command_opens_the_api(mongodb: MongoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"test_{uuid.uuid4().hex}"
    monkeypatch.setenv("FRAMEMATCH_MONGODB__DATABASE", name)
    made = json.loads(
        command(monkeypatch, mongodb, "create", "a", "--scope", "read", "--expires", "1h", "--json").stdout
    )

    async def enter() -> Principal:
        async with await connect(mongodb.uri) as client:
            return await Gate(client[name]).enter(made["key"])

    assert asyncio.run(enter()).scopes == {"read"}
