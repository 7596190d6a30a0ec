"""What the dispatcher says of all outboxes together."""

from typing import Any

import pytest

from edge.outbox.dispatcher import Dispatcher
from edge.outbox.outbox import Outbox
from framematch.core.settings import EdgeSettings, KafkaSettings


async def test_a_camera_without_acknowledgements_is_not_hidden_by_one_that_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dispatcher = Dispatcher(KafkaSettings(), EdgeSettings())
    stats: Any = None
    stalled_s = {dispatcher.outbox(f"till-{seconds}", stats, live=True): seconds for seconds in (60.0, 0.1, 0.0)}
    monkeypatch.setattr(Outbox, "stalled_s", property(lambda outbox: stalled_s[outbox]))
    assert dispatcher.stalled_s == 60.0
    stalled_s |= dict.fromkeys(stalled_s, 0.0)
    assert dispatcher.stalled_s == 0.0
    await dispatcher.close()
