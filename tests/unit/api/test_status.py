"""`/v1/status` says whether everything works, and what does not."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from framematch.api.routes.status import status_of
from framematch.catalog.snapshots.names import SnapshotNames
from framematch.catalog.snapshots.serving_status import RefusedSnapshot, ServingStatus
from framematch.matching.serving.served_snapshot import ServedSnapshot

MANIFEST = SimpleNamespace(id="one", created_at="2026-01-01T00:00:00+00:00", model_name="mini", products=3, rows=9)
SERVED = cast("ServedSnapshot", SimpleNamespace(manifest=MANIFEST, delta=4))
NAMES = SnapshotNames(version=2, active="one", previous="zero")
CONSUMER = ServingStatus("a", "gpu-1", 7, "consumer", "one", 4, None, 2)
WORKS: dict[str, Any] = {
    "parts": {"mongodb": "ok", "snapshot": "ok (the shadow two is refused: no model)"},
    "names": NAMES,
    "served": SERVED,
    "processes": [CONSUMER],
}


def test_all_is_well() -> None:
    found = status_of(**WORKS)
    assert found.ok
    assert [(part.name, part.ok) for part in found.parts] == [("mongodb", True), ("snapshot", True)]
    assert found.snapshots.previous == "zero"
    assert found.served is not None
    assert (found.served.id, found.served.views, found.served.delta) == ("one", 9, 4)
    assert [(one.service, one.snapshot) for one in found.processes or []] == [("consumer", "one")]


@pytest.mark.parametrize(
    "change",
    [
        {"parts": {"triton": "no answer within 2 s"}},
        {"served": None},
        {"processes": None},
        {"processes": [CONSUMER, replace(CONSUMER, snapshot="zero")]},
        {"processes": [replace(CONSUMER, refused=RefusedSnapshot("two", "no model"))]},
    ],
    ids=["a server is away", "no index", "MongoDB is away", "one serves another snapshot", "one refuses a snapshot"],
)
def test_something_is_wrong(change: dict[str, Any]) -> None:
    assert not status_of(**{**WORKS, **change}).ok


def test_a_reason_shows_no_password() -> None:
    found = status_of(**{**WORKS, "parts": {"mongodb": "mongodb://me:canary@db does not answer"}})
    assert "canary" not in found.parts[0].detail
