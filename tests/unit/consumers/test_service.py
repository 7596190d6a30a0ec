"""How a consumer begins."""

import asyncio

import pytest

from consumers.service import run_consumer
from framematch.core.errors import SettingsError
from framematch.core.settings import Settings
from stack.server import ReservedPort

ADDRESSES = ("kafka.bootstrap_servers", "triton.url", "mongodb.uri")


@pytest.mark.parametrize("missing", ADDRESSES)
async def test_an_address_that_is_missing_is_told_though_no_server_answers(missing: str) -> None:
    nobody = ReservedPort().address
    tree: dict[str, dict[str, str]] = {"kafka": {}, "triton": {}, "mongodb": {}}
    for section, _, name in (address.partition(".") for address in ADDRESSES if address != missing):
        tree[section][name] = f"mongodb://{nobody}" if section == "mongodb" else nobody
    with pytest.raises(SettingsError, match=f"{missing} is not set"):
        await run_consumer(Settings.model_validate(tree), asyncio.Event())
