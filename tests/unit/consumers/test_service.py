"""The start of a consumer."""

import asyncio

import pytest

from consumers.service import run_consumer
from framematch.core.errors import SettingsError
from framematch.core.settings import Settings
from framematch.stack.server import ReservedPort


@pytest.mark.parametrize("missing", ["kafka.bootstrap_servers", "triton.url", "mongodb.uri"])
async def test_a_missing_address_is_reported_though_no_server_answers(missing: str) -> None:
    unreachable = ReservedPort().address
    tree = {
        "kafka": {"bootstrap_servers": unreachable},
        "triton": {"url": unreachable},
        "mongodb": {"uri": f"mongodb://{unreachable}"},
    }
    section, _, name = missing.partition(".")
    del tree[section][name]
    with pytest.raises(SettingsError, match=f"{missing} is not set"):
        await run_consumer(Settings.model_validate(tree), asyncio.Event())
